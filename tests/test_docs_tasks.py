"""The figures of docs/results.md are those of the CSV files beside it."""

import statistics
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.benchmarks.recall_distance import LABELS
from tests.doc_figures import (
  accuracies,
  decimals,
  losses,
  minus,
  read,
  records,
  table,
  with_deviation,
  with_error,
)

NUM_BASIS = [
  ('τ .75, sticky', '16', 'continuous'),
  ('τ .75, sticky (above)', '64', 'continuous'),
  ('τ .75, sticky', '128', 'continuous'),
  ('logarithmic, even', '16', 'continuous_log_even'),
  ('logarithmic, even (above)', '64', 'continuous_log_even'),
]
"""Label, number of basis functions, and setting of every row."""

SORTING = {
  'accuracy': 'accuracy',
  'emptied': 'emptied',
  'exchanged': 'exchanged',
  'loss': 'loss_nats_per_token',
}
"""Columns of the table on longer sequences and of sorting.csv."""


@pytest.mark.parametrize(
  ('second_column', 'settings'),
  [('1', [(label, '64', memory) for memory, label in LABELS.items()]), ('N', NUM_BASIS)],
)
def test_tables_of_passkeys_have_the_figures_of_the_files(second_column, settings):
  rows, of = table('docs/results.md', 'accuracy at a distance of', second_column), accuracies('65')
  for row, (label, num_basis, memory) in zip(rows, settings, strict=True):
    assert row.pop('accuracy at a distance of') == label
    assert row.pop('N', num_basis) == num_basis
    found = {int(column.removesuffix(' segments')): cell for column, cell in row.items()}
    assert found == {at: with_deviation(seeds) for at, seeds in of[num_basis, memory].items()}, label


def test_the_table_of_sorting_has_the_figures_of_the_file():
  runs = defaultdict(list)
  for run in records('sorting.csv'):
    runs[f'{int(run["length"]):,}', LABELS[run['memory']]].append(run)
  rows = table('docs/results.md', 'length', 'memory', 'seeds')
  assert {(row['length'], row['memory']) for row in rows} == runs.keys()
  for row in rows:
    found = runs[row['length'], row['memory']]
    assert int(row['seeds']) == len(found) == len({run['seed'] for run in found})
    for column, key in SORTING.items():
      assert row[column] == seeds_of([float(run[key]) for run in found if run[key]]), (row, column)


def seeds_of(values: list[float]) -> str:
  if len(values) > 1:
    return with_deviation(values, 3)
  return decimals(values[0], 3) if values else ''


def of_results() -> Iterator[str]:
  near = {memory: with_deviation(of[16]) for (n, memory), of in accuracies('17').items() if n == '64'}
  yield f'{near["continuous_log_even"]} at 16 segments, τ even {near["continuous_even"]}'
  yield f'τ sticky {near["continuous"]}, none {near["none"]}'
  few = with_deviation(accuracies('17')['16', 'continuous_log_even'][16])
  yield f'also at 16 ({near["continuous_log_even"]} against {few})'
  seeds = accuracies('65')['64', 'continuous_log_even'][64]
  yield f'in two of three ({", ".join(decimals(seed, 2) for seed in seeds)})'
  emptied = [
    float(row['emptied'])
    for row in records('recall_passkey.csv')
    if row['segments'] == '65' and row['emptied'] and int(row['distance']) >= 4
  ]
  lowest, highest = decimals(min(emptied), 2), decimals(max(emptied), 2)
  yield f'every model is at {lowest} to {highest} from 4 segments on'
  code = statistics.fmean(minus(losses('text_compare.csv', 5), 'continuous_log', 'continuous'))
  books = statistics.fmean(minus(losses('text_books.csv'), 'continuous', 'continuous_log'))
  yield f'τ is better by {decimals(code)} on code, and log by {decimals(books)} on books'
  accuracy = {
    (run['length'], run['memory'], run['seed']): float(run['accuracy']) for run in records('sorting.csv')
  }
  for length in ('1024', '2048'):
    gains = [
      accuracy[length, 'continuous_log_even', s] - accuracy[length, 'continuous_even', s] for s in '012'
    ]
    assert min(gains) > 0
    yield f'{with_error(gains, 3)} at {int(length):,}'
  for name, num_seeds, where in (('text_compare', 5, 'on code'), ('text_books', 3, 'on books')):
    even = minus(losses(f'{name}.csv', num_seeds), 'continuous', 'continuous_even')
    assert min(even) > 0
    yield f'{with_error(even, 5)} {"nats per token " if num_seeds == 5 else ""}{where}'


def test_sentences_have_the_figures_of_the_files():
  written = ' '.join(read('docs/results.md').split())
  assert [words for words in of_results() if words not in written] == []
