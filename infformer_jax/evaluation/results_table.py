"""The losses and accuracies of an evaluation as tables for the terminal."""

from infformer_jax.memory.views import VIEWS
from infformer_jax.results_schema import ByGroup, PerTokenAndBeyond, Summary
from infformer_jax.text_table import text_table

NAMES_WIDTH = 27


def results_table(results: Summary) -> str:
  """A line per view of the memory and, for a task, a second table with a line per group of targets.

  If targets are <unk>, a line gives their share.

  >>> memory = {'loss_nats_per_token': 2.5, 'beyond_reach': None}
  >>> others = {'emptied': None, 'exchanged': None, 'by_group': {}, 'unk_share': 0.25}
  >>> print(results_table({'memory': memory, 'beyond_reach_from_token': 256, **others}))
  loss [nats per token]        all tokens  from token 256 on
  memory                           2.5000                  -
  memory emptied                        -                  -
  memory exchanged                      -                  -
  25 % of the targets are <unk>, whose text is not predicted
  """
  rows: dict[str, PerTokenAndBeyond | None] = {
    'memory': results['memory'],
    'memory emptied': results['emptied'],
    'memory exchanged': results['exchanged'],
  }
  if results['exchanged'] and results['exchanged']['num_segments_left_out']:
    rows['memory, same tokens again'] = results['exchanged']['memory_over_the_same_tokens']
  far = f'from token {results["beyond_reach_from_token"]} on'
  table: list[tuple[str, ...]] = [('loss [nats per token]', 'all tokens', far)]
  for name, figures in rows.items():
    beyond = figures and figures['beyond_reach']
    losses = [each and each['loss_nats_per_token'] for each in (figures, beyond)]
    table.append((name, *map(_cell, losses)))
  tables = [text_table(table, names_width=NAMES_WIDTH)]
  if share := results['unk_share']:
    tables.append(f'{share * 100:.2g} % of the targets are <unk>, whose text is not predicted')
  if results['by_group']:
    tables.append(_accuracies(results['by_group']))
  return '\n'.join(tables)


def _accuracies(by_group: ByGroup) -> str:
  """A line per group of targets."""
  rows: list[tuple[str, ...]] = [('accuracy', *VIEWS)]
  for group, figures in by_group.items():
    accuracies = [figures[view]['accuracy'] if view in figures else None for view in VIEWS]
    rows.append((group.replace('_', ' '), *map(_cell, accuracies)))
  return text_table(rows, names_width=NAMES_WIDTH)


def _cell(value: float | None) -> str:
  return '-' if value is None else f'{value:.4f}'
