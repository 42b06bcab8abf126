"""Rows of the benchmark table: medians, ratios, goals, and contestants that are not installed."""

import json

import pytest

from tests.benchmarks.table import HEADER, Goal, Spread, exact, timed

# One run of the first round was disturbed, and the third round was slower for both.
TIMES = {'ours': [0.5, 0.1, 0.4, 0.1, 0.1], 'torch': [0.2, 0.2, 0.8, 0.2, 0.2]}


def cells(row):
  return [cell.strip() for cell in row.markdown().strip('|').split('|')]


def test_a_row_shows_medians_quartiles_and_the_ratio_of_the_runs_of_one_round():
  row = timed('read', TIMES, 'torch', goal=Goal(at_most=0.5))
  assert row.ratio == Spread(median=0.5, lower=0.5, upper=0.5)
  assert cells(row) == ['read', '100 (100 to 400) ms', 'torch: 200 ms', '0.500', '≤ 0.5', 'yes']
  assert len(cells(row)) == HEADER.splitlines()[0].count('|') - 1


@pytest.mark.parametrize(('at_most', 'met'), [(0.5, True), (0.49, False)])
def test_a_goal_bounds_the_ratio(at_most, met):
  row = timed('read', TIMES, 'torch', goal=Goal(at_most=at_most))
  assert row.met is met
  assert cells(row)[-1] == ('yes' if met else 'no')


@pytest.mark.parametrize(('at_most', 'met'), [(100, True), (99, False)])
def test_a_goal_bounds_our_own_figure(at_most, met):
  row = exact('read', 'MiB', 100, goal=Goal(at_most=at_most, of='ours'))
  assert row.met is met
  assert cells(row)[1:] == ['100 MiB', '', '', f'≤ {at_most} MiB', 'yes' if met else 'no']


def test_a_contestant_that_is_not_installed_is_named_and_its_goal_stays_open():
  row = timed('read', {'ours': TIMES['ours']}, 'torch', goal=Goal(at_most=0.5))
  assert row.met is None
  assert cells(row)[2:] == ['torch is not installed', '', '≤ 0.5', '-']


def test_sizes_have_a_ratio_without_a_spread():
  assert cells(exact('state', 'MiB', 2.0, 8.0, 'keys'))[1:4] == ['2.00 MiB', 'keys: 8.00 MiB', '0.250']


def test_the_json_has_the_figures_and_whether_the_goal_is_met():
  row = json.loads(json.dumps(timed('read', TIMES, 'torch', goal=Goal(at_most=0.4)).json()))
  assert row['met'] is False
  assert row['ours'] == {'median': 100.0, 'lower': 100.0, 'upper': 400.0}
  assert (row['unit'], row['other_name'], row['goal']) == ('ms', 'torch', {'at_most': 0.4, 'of': 'ratio'})
