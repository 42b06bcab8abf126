"""The figures of an evaluation in a few lines for the terminal."""

from infformer_jax.memory.views import VIEWS
from infformer_jax.results_schema import ByGroup, PerTokenAndBeyond, Summary


def results_table(results: Summary) -> str:
  """The losses in a few lines for the terminal.

  >>> memory = {'loss_nats_per_token': 2.5, 'beyond_reach': None}
  >>> others = {'emptied': None, 'exchanged': None, 'by_group': {}}
  >>> print(results_table({'memory': memory, 'beyond_reach_from_token': 256, **others}))
  loss [nats per token]        all tokens  from token 256 on
  memory                           2.5000                  -
  memory emptied                        -                  -
  memory exchanged                      -                  -
  """
  rows: dict[str, PerTokenAndBeyond | None] = {
    'memory': results['memory'],
    'memory emptied': results['emptied'],
    'memory exchanged': results['exchanged'],
  }
  if results['exchanged'] and results['exchanged']['num_segments_left_out']:
    rows['memory, same tokens again'] = results['exchanged']['memory_over_the_same_tokens']
  beyond = f'from token {results["beyond_reach_from_token"]} on'
  lines = [f'{"loss [nats per token]":29}all tokens  {beyond}']
  for name, figures in rows.items():
    both = (figures, figures and figures['beyond_reach'])
    cells = [each and each['loss_nats_per_token'] for each in both]
    all_tokens, far = ('-' if cell is None else f'{cell:.4f}' for cell in cells)
    lines.append(f'{name:29}{all_tokens:>10}  {far:>{len(beyond)}}')
  return '\n'.join(lines + _accuracies(results['by_group']))


def _accuracies(by_group: ByGroup) -> list[str]:
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
