"""The results of a sweep as tables for the terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from infformer_jax.ablation.comparison import error, gain
from infformer_jax.results_schema import Comparison, Measure, Sweep
from infformer_jax.text_table import text_table

TITLES: dict[Measure, str] = {
  'loss_nats_per_token': 'loss minus that without a memory [nats per token], all tokens',
  'loss_beyond_reach_nats_per_token': 'loss minus that without a memory [nats per token], beyond the reach',
  'accuracy': 'accuracy minus that without a memory',
}


def results(sweep: Sweep) -> str:
  """All tables: the runs, then the comparisons."""
  tables = [rows_table(sweep['rows'])]
  for measure in dict.fromkeys(entry['measure'] for entry in sweep['comparisons']):
    entries = [entry for entry in sweep['comparisons'] if entry['measure'] == measure]
    tables.append(
      '\n'.join([f'{TITLES[measure]}:', _comparison_table(sweep['names'], entries), *_notes(entries)])
    )
  if sweep['not_compared']:
    tables.append(
      f'not compared, because an earlier version measured them: {", ".join(sweep["not_compared"])}; '
      'delete their point.json to measure them again, without training'
    )
  return '\n\n'.join(tables)


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """Rows of equal keys as a table for the terminal; numbers have four significant digits.

  >>> print(rows_table([{'n': '64', 'error': 0.12345}, {'n': '128', 'error': None}]))
    n   error
   64  0.1235
  128       -
  """
  if not rows:
    return 'nothing is finished yet'
  names = [name for name in rows[0] if not isinstance(rows[0][name], Mapping)]
  return text_table([names, *([_cell(row[name]) for name in names] for row in rows)])


def _comparison_table(names: Sequence[str], entries: Sequence[Comparison]) -> str:
  header = [*names, 'seeds', 'difference', '± over seeds', '± over documents', 'share of the ceiling']
  rows = [
    [
      *entry['values'],
      str(entry['num_seeds']),
      _decimals(entry['difference'], sign='+'),
      _decimals(entry['standard_error_over_seeds']),
      _decimals(entry['standard_error_over_documents']),
      'ceiling' if entry['is_ceiling'] else _decimals(entry['share_of_ceiling'], digits=2),
    ]
    for entry in entries
  ]
  return text_table([header, *rows])


def _notes(entries: Sequence[Comparison]) -> list[str]:
  """Lines on what cannot be compared, and on a ceiling that gives no shares."""
  notes = [
    f'{", ".join(entry["values"])}: {entry["difference_reason"]}'
    for entry in entries
    if entry['difference'] is None
  ]
  for minus in dict.fromkeys(tuple(entry['minus']) for entry in entries):
    notes += _notes_on_ceiling(minus, [entry for entry in entries if tuple(entry['minus']) == minus])
  return notes


def _notes_on_ceiling(minus: Sequence[str], entries: Sequence[Comparison]) -> list[str]:
  """The same for the entries of one setting without a memory."""
  ceiling = next((entry for entry in entries if entry['is_ceiling']), None)
  if ceiling is None:
    reason, remedy = entries[0]['share_of_ceiling_reason'], ''
    if not any(entry['memory_kind'] == 'recent' for entry in entries):
      remedy = ', such as memory=recent_8x'
    return [f'there is no ceiling against {", ".join(minus)}: {reason}{remedy}']
  name, required = f'the ceiling ({", ".join(ceiling["values"])})', ceiling['significant_gain']
  if required is None:
    return [f'{name} has one seed, so that its error is not known; use --seeds=3 or more']
  if ceiling['share_of_ceiling'] is None:
    return [
      f'{name} gains nothing significant ({gain(ceiling):.4f} ± {error(ceiling):.4f}; '
      f"more than {required:.4f} is required, by the two-sided 95 % quantiles of Student's t over seeds and "
      'over documents, corrected for the number of exact windows), so that these data, this number of seeds '
      'or this length of training cannot show what a memory is worth; use longer documents, more seeds or '
      'longer training'
    ]
  return []


def _decimals(value: float | None, *, sign: str = '-', digits: int = 4) -> str:
  return '-' if value is None else f'{value:{sign}.{digits}f}'


def _cell(value: Any) -> str:
  if value is None:
    return '-'
  if isinstance(value, float) and math.isfinite(value) and value != round(value):
    return f'{value:.4g}' if abs(value) < 1e4 else f'{value:,.0f}'
  return f'{value:,.0f}' if isinstance(value, int | float) else str(value)
