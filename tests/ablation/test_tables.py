"""The tables of a sweep, and what they say where a comparison is not possible."""

import numpy as np
import pytest

from infformer_jax.ablation import tables
from infformer_jax.ablation.comparison import comparisons
from tests.ablation.sweep import TOKENS, text_run

ROWS = [{'memory': 'none', 'seeds': 3, 'loss': 3.14159, 'groups': {}, 'error': None, 'flops': 12345.0}]


def printed(settings, **changes):
  """The tables of runs of {name: (kind, shift of every seed)}, without the one of all runs."""
  runs = [
    text_run(name.split(), seed, kind, np.array(TOKENS) * (3 + shift + 0.1 * seed))
    for name, (kind, shifts) in settings.items()
    for seed, shift in enumerate(shifts)
  ]
  sweep = {'names': ['memory'], 'rows': ROWS, 'comparisons': comparisons(runs), 'not_compared': []}
  _, *rest = tables.results(sweep | changes).split('\n\n')
  return rest


def test_rows_have_four_significant_digits_and_no_groups():
  header, row = tables.rows_table(ROWS).splitlines()
  assert header.split() == ['memory', 'seeds', 'loss', 'error', 'flops']
  assert row.split() == ['none', '3', '3.142', '-', '12,345']
  assert tables.rows_table([]) == 'nothing is finished yet'


def test_every_measure_has_a_table_of_differences_errors_and_shares():
  settings = {
    'none': ('none', (0.0, 0.0)),
    'window': ('recent', (-0.21, -0.19)),
    'signal': ('continuous', (-0.05, -0.05)),
  }
  first, second = printed(settings)
  assert 'all tokens' in first
  assert 'beyond the reach' in second
  rows = [line.split() for line in first.splitlines()[2:]]
  assert rows == [
    ['window', '2', '-0.2000', '0.0100', '0.0000', 'ceiling'],
    ['signal', '2', '-0.0500', '0.0000', '0.0000', '0.25'],
  ]


@pytest.mark.parametrize(
  ('windows', 'note'),
  [
    (
      {'recent': ('recent', (-0.15, 0.05))},
      'the ceiling (recent) gains nothing significant (0.0500 ± 0.1000; more than 1.2706 is required, ',
    ),
    ({'recent': ('recent', (-0.1,))}, 'the ceiling (recent) has one seed'),
    ({}, "there is no ceiling against none: no setting has memory.kind = 'recent', such as"),
  ],
)
def test_a_ceiling_that_gives_no_shares_is_explained_in_one_line(windows, note):
  settings = {'none': ('none', (0.0, 0.0)), **windows, 'signal': ('continuous', (-0.05, -0.05))}
  lines = printed(settings)[0].splitlines()
  assert lines[-1].startswith(note)
  assert lines[-2].split()[0] == 'signal'
  assert lines[-2].split()[-1] == '-'


def test_exact_windows_that_cannot_be_compared_are_not_called_missing():
  nan = float('nan')
  settings = {'none': ('none', (0.0, 0.0)), 'recent': ('recent', (nan, nan))}
  *_, difference, ceiling = printed(settings)[0].splitlines()
  assert difference == 'recent: a loss is not a finite number'
  assert ceiling == 'there is no ceiling against none: no exact window can be compared'


def test_a_ceiling_that_is_missing_at_one_value_of_the_other_axis_is_explained():
  settings = {
    'none 512': ('none', (0.0, 0.0)),
    'none 1024': ('none', (0.0, 0.0)),
    'signal 512': ('continuous', (-0.1, -0.1)),
    'signal 1024': ('continuous', (-0.1, -0.1)),
    'recent 512': ('recent', (-0.2, -0.2)),
  }
  lines = printed(settings, names=['memory', 'length'])[0].splitlines()
  (note,) = [line for line in lines if 'there is no ceiling' in line]
  assert note.startswith(
    "there is no ceiling against none, 1024: no setting has memory.kind = 'recent', such"
  )


def test_settings_that_cannot_be_compared_are_listed_with_the_reason():
  assert printed({'none': ('none', (0.0,)), 'signal': ('continuous', ())}) == []
  (note,) = printed({}, not_compared=['memory=none,seed=0'])
  assert 'memory=none,seed=0; delete their point.json' in note
  with_reason = printed({'none': ('none', (0.0,)), 'signal': ('continuous', (float('nan'),))})[0]
  assert 'signal: a loss is not a finite number' in with_reason.splitlines()
