"""The figures of the docs are those of the CSV files beside them.

Not in these files, and not tested: losses by position, standard errors over documents, and losses minus those
with an emptied or exchanged memory.
"""

import csv
import math
import pathlib
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from tests.benchmarks.recall_distance import LABELS as PASSKEY

ROOT = pathlib.Path(__file__).parents[1]

README = {
  'Transformer-XL, exact window of 256 tokens': 'recent_4x',
  'Transformer-XL, exact window of 64 tokens': 'recent',
  '∞-former, even sampling, softmax over time': 'continuous_gibbs',
  '∞-former, even sampling': 'continuous_even',
  '∞-former, sticky (default)': 'continuous',
}
COMPARE = {
  'none': 'none',
  **{f'{label} (`{memory}`)': memory for label, memory in README.items()},
  '∞-former, sticky, logarithmic (`continuous_log`)': 'continuous_log',
  '∞-former, even, logarithmic (`continuous_log_even`)': 'continuous_log_even',
}
FIVE_SEEDS = {
  'exact window of 256 tokens': 'recent_4x',
  'even, softmax over time': 'continuous_gibbs',
  'τ .75, even': 'continuous_even',
  'τ .75, sticky (default)': 'continuous',
  'logarithmic, sticky': 'continuous_log',
}
WHOLE_BOOKS = {
  'τ .75, sticky': 'continuous',
  'τ .75, even': 'continuous_even',
  'logarithmic, sticky': 'continuous_log',
  'logarithmic, even': 'continuous_log_even',
}
BOOKS = {'none': 'none', 'exact window of 64 tokens (`recent`)': 'recent', **WHOLE_BOOKS}
NUM_BASIS = [
  ('τ .75, sticky', '16', 'continuous'),
  ('τ .75, sticky (above)', '64', 'continuous'),
  ('τ .75, sticky', '128', 'continuous'),
  ('logarithmic, even', '16', 'continuous_log_even'),
  ('logarithmic, even (above)', '64', 'continuous_log_even'),
]
"""Label, number of basis functions, and setting of every row."""

Losses = Mapping[str, Mapping[int, float]]


def read(page: str) -> str:
  return (ROOT / page).read_text(encoding='utf-8')


def records(name: str) -> list[dict[str, str]]:
  return list(csv.DictReader(read(f'docs/{name}').splitlines()))


def tables(page: str) -> list[list[list[str]]]:
  """The header and the rows of every table: of Markdown, or indented, with two spaces between cells."""
  found = []
  for block in re.findall(r'^ *\|.*\n *\|[-|]+\n(?: *\|.*\n)+', read(page), re.MULTILINE):
    header, _, *rows = ([cell.strip() for cell in line.split('|')[1:-1]] for line in block.splitlines())
    found.append([header, *rows])
  for block in re.findall(r'(?:^    \S.*\n)+', read(page), re.MULTILINE):
    found.append([re.split(' {2,}', line.strip()) for line in block.splitlines()])
  return found


def table(page: str, *columns: str) -> list[dict[str, str]]:
  """The rows, by column, of the only table whose first columns have these names."""
  ((header, *rows),) = (table for table in tables(page) if tuple(table[0][: len(columns)]) == columns)
  return [dict(zip(header, row, strict=True)) for row in rows]


def decimals(value: float, digits: int = 4, sign: str = '-') -> str:
  """Without the zero before the point."""
  return re.sub(r'^([+-]?)0\.', r'\1.', f'{value:{sign}.{digits}f}')


def with_error(differences: Sequence[float], digits: int = 4) -> str:
  return f'{decimals(statistics.fmean(differences), digits)} ± {decimals(error(differences), digits)}'


def error(values: Sequence[float]) -> float:
  """The standard error of the mean."""
  return statistics.stdev(values) / math.sqrt(len(values))


def losses(name: str, num_seeds: int = 3) -> Losses:
  """By memory and seed, of the seeds below `num_seeds`."""
  found: dict[str, dict[int, float]] = defaultdict(dict)
  for row in records(name):
    if int(row['seed']) < num_seeds:
      found[row['memory']][int(row['seed'])] = float(row['loss_nats_per_token'])
  return found


def minus(of: Losses, memory: str, other: str = 'none') -> list[float]:
  """The differences of two settings, paired by seed."""
  return [of[memory][seed] - of[other][seed] for seed in sorted(of[memory].keys() & of[other].keys())]


def figures(of: Losses, memory: str) -> dict[str, str]:
  """What the tables on text can say of a setting, by the name of the column."""
  own = {'seeds': str(len(of[memory])), 'loss': decimals(statistics.fmean(of[memory].values()))}
  if memory == 'none':
    return own | dict.fromkeys(('minus `none`', '± over seeds', 'share of the ceiling'), '')
  differences = minus(of, memory)
  mean = statistics.fmean(differences)
  spread = decimals(error(differences)) if len(differences) > 1 else '-'
  windows = {  # Those that were run with all seeds.
    name: statistics.fmean(minus(of, name))
    for name in of
    if name.startswith('recent') and of[name].keys() == of['none'].keys()
  }
  ceiling = min(windows, key=windows.__getitem__, default='')
  if windows:
    share = decimals(mean / windows[ceiling], 2)
    own['share of the ceiling'] = 'ceiling' if memory == ceiling else share
  own |= dict.fromkeys(('minus `none`', 'difference'), decimals(mean))
  own |= dict.fromkeys(('± over seeds', '± seeds'), spread)
  return own | {'all tokens': f'{decimals(mean)} ± {spread}'}


@pytest.mark.parametrize(
  ('page', 'columns', 'name', 'num_seeds', 'labels'),
  [
    ('README.md', ('memory', 'difference'), 'text_compare.csv', 3, README),
    ('docs/text.md', ('memory', 'seeds'), 'text_compare.csv', 3, COMPARE),
    ('docs/text.md', ('memory', 'minus `none`'), 'text_compare.csv', 5, FIVE_SEEDS),
    ('docs/text.md', ('memory', 'loss'), 'text_books.csv', 3, BOOKS),
    ('docs/text.md', ('memory', 'all tokens'), 'text_whole_books.csv', 3, WHOLE_BOOKS),
  ],
)
def test_tables_on_text_have_the_figures_of_the_files(page, columns, name, num_seeds, labels):
  rows, of = table(page, *columns), losses(name, num_seeds)
  assert [row['memory'] for row in rows] == list(labels)
  for row in rows:
    recomputed = figures(of, labels[row['memory']])
    assert columns[1] in recomputed
    assert row == row | {column: recomputed[column] for column in row.keys() & recomputed.keys()}


def test_the_readme_has_the_errors_over_documents_of_the_docs():
  rows = table('docs/text.md', 'memory', 'seeds')
  errors = {COMPARE[row['memory']]: row['± over documents'] for row in rows}
  for row in table('README.md', 'memory', 'difference'):
    assert row['± documents'] == errors[README[row['memory']]]


def accuracies(segments: str) -> dict[tuple[str, str], dict[int, list[float]]]:
  """Those of all seeds at each distance, by number of basis functions and memory."""
  found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
  for row in [*records('recall_passkey.csv'), *records('recall_num_basis.csv')]:
    if row['segments'] == segments:
      setting = row.get('num_basis', '64'), row['memory']
      found[setting][int(row['distance'])].append(float(row['accuracy']))
  return found


def with_deviation(seeds: Sequence[float]) -> str:
  return f'{decimals(statistics.fmean(seeds), 2)} ± {decimals(statistics.stdev(seeds), 2)}'


@pytest.mark.parametrize(
  ('second_column', 'settings'),
  [('1', [(label, '64', memory) for memory, label in PASSKEY.items()]), ('N', NUM_BASIS)],
)
def test_tables_of_passkeys_have_the_figures_of_the_files(second_column, settings):
  rows, of = table('docs/results.md', 'accuracy at a distance of', second_column), accuracies('65')
  for row, (label, num_basis, memory) in zip(rows, settings, strict=True):
    assert row.pop('accuracy at a distance of') == label
    assert row.pop('N', num_basis) == num_basis
    found = {int(column.removesuffix(' segments')): cell for column, cell in row.items()}
    assert found == {at: with_deviation(seeds) for at, seeds in of[num_basis, memory].items()}, label


def of_readme() -> Iterator[str]:
  books = losses('text_books.csv')
  gains = (minus(books, 'none', memory) for memory in ('continuous', 'continuous_log', 'recent'))
  sticky, log, exact = map(with_error, gains)
  yield f'it gains {sticky} (three seeds), on a logarithmic axis {log}'
  yield f'on a logarithmic axis {log}, and an exact window of 64 tokens {exact}'
  far = {memory: with_deviation(of[64]) for (n, memory), of in accuracies('65').items() if n == '64'}
  yield f'no memory {far["none"]}, ∞-former with even sampling {far["continuous_even"]}'
  yield f'on a logarithmic axis {far["continuous_log_even"]}, sticky (the default) {far["continuous"]}'
  yield f'exact window of eight times the bytes {far["recent_8x"]} (accuracy'


def of_text() -> Iterator[str]:
  three, five = losses('text_compare.csv'), losses('text_compare.csv', 5)
  softmax, density = (
    statistics.fmean(minus(three, memory)) for memory in ('continuous_gibbs', 'continuous_even')
  )
  yield f'gains {softmax / density:.1f} times as much from the same signal'
  code = minus(five, 'continuous_log', 'continuous')
  assert min(code) > 0
  mean = decimals(statistics.fmean(code))
  yield f'sticky logarithmic axis by {mean} ± {decimals(error(code), 5)}, in every seed'
  books, whole = losses('text_books.csv'), losses('text_whole_books.csv')
  sticky, even = (minus(books, f'continuous{end}', f'continuous_log{end}') for end in ('', '_even'))
  assert min(*sticky, *even) > 0
  yield f'{with_error(sticky, 5)} (sticky, paired by seed) and {with_error(even, 5)} (even), in every seed'
  gains = [decimals(gain) for gain in minus(books, 'none', 'recent')]
  yield f'({gains[0]}, {gains[1]} and {gains[2]} in the three seeds'
  yield f'256 tokens (`recent_4x`) gain {decimals(minus(books, "none", "recent_4x")[0])}, and 64 {gains[0]}'
  yield f'Without a memory, the loss is {with_error(list(whole["none"].values()))}. Minus'
  for end in ('', '_even'):
    better = with_error(minus(whole, f'continuous{end}', f'continuous_log{end}'))
    yield f'the logarithmic one is better by {better} on all tokens'


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


@pytest.mark.parametrize(
  ('page', 'sentences'),
  [('README.md', of_readme), ('docs/text.md', of_text), ('docs/results.md', of_results)],
)
def test_sentences_have_the_figures_of_the_files(page: str, sentences: Callable[[], Iterator[str]]):
  written = ' '.join(read(page).split())
  assert [words for words in sentences() if words not in written] == []
