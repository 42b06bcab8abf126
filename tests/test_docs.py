"""The figures on text in README.md and the docs are those of the CSV files.

Not in these files, and not tested: losses by position, standard errors over documents, and losses minus those
with an emptied or exchanged memory.
"""

import statistics
from collections.abc import Callable, Iterator

import pytest

from tests.doc_figures import (
  Losses,
  accuracies,
  decimals,
  error,
  losses,
  minus,
  read,
  table,
  with_deviation,
  with_error,
)

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
  axis = losses('text_span.csv')
  for memory, how in (
    ('continuous_log', 'with sticky sampling, which is'),
    ('continuous_log_even', 'with even sampling,'),
  ):
    worse = [axis[memory][seed] - three[memory][seed] for seed in range(3)]
    assert min(worse) > 0
    gain = with_error([axis[memory][seed] - three['none'][seed] for seed in range(3)])
    yield f'{gain} {how} worse by {with_error(worse)}'
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


@pytest.mark.parametrize(
  ('page', 'sentences'),
  [('README.md', of_readme), ('docs/text.md', of_text)],
)
def test_sentences_have_the_figures_of_the_files(page: str, sentences: Callable[[], Iterator[str]]):
  written = ' '.join(read(page).split())
  assert [words for words in sentences() if words not in written] == []
