"""The figures of an evaluation in a few lines for the terminal."""

from collections.abc import Mapping
from typing import Any

from infformer_jax.memory.views import VIEWS


def results_table(results: Mapping[str, Any]) -> str:
  """The losses in a few lines for the terminal.

  >>> none = {'emptied': None, 'exchanged': None, 'by_group': {}}
  >>> print(
  ...   results_table(none | {'memory': {'loss_nats_per_token': 2.5}, 'beyond_reach_from_token': 256})
  ... )
  loss [nats per token]        all tokens  from token 256 on
  memory                           2.5000                  -
  memory emptied                        -                  -
  memory exchanged                      -                  -
  """
  rows = {
    'memory': results['memory'],
    'memory emptied': results['emptied'],
    'memory exchanged': results['exchanged'],
  }
  if results['exchanged'] and results['exchanged']['num_segments_left_out']:
    rows['memory, same tokens again'] = results['exchanged']['memory_over_the_same_tokens']
  beyond = f'from token {results["beyond_reach_from_token"]} on'
  lines = [f'{"loss [nats per token]":29}all tokens  {beyond}']
  for name, figures in rows.items():
    both = (figures, (figures or {}).get('beyond_reach'))
    cells = [each and each['loss_nats_per_token'] for each in both]
    all_tokens, far = ('-' if cell is None else f'{cell:.4f}' for cell in cells)
    lines.append(f'{name:29}{all_tokens:>10}  {far:>{len(beyond)}}')
  return '\n'.join(lines + _accuracies(results['by_group']))


def _accuracies(by_group: Mapping[str, Any]) -> list[str]:
  """A line per group of targets."""
  if not by_group:
    return []
  lines = [f'{"accuracy":29}' + ''.join(f'{view:>10}' for view in VIEWS)]
  for group, of_views in by_group.items():
    cells = [of_views[view]['accuracy'] if view in of_views else None for view in VIEWS]
    lines.append(
      f'{group.replace("_", " "):29}' + ''.join(f'{"-" if c is None else f"{c:.4f}":>10}' for c in cells)
    )
  return lines
