"""The results of an evaluation as a table for the terminal."""

import math

from infformer_jax.evaluation.results_table import results_table
from tests.evaluation.test_results import losses, summary, two_groups


def test_the_table_contains_all_losses():
  results = summary(losses([8, 6, 4, 2, 8, 5], emptied=[8, 6, 7, 2, 8, 5]))
  assert [line.split()[-2:] for line in results_table(results).splitlines()[1:]] == [
    ['1.5000', '1.0000'],
    ['1.6364', '1.5000'],
    ['-', '-'],
  ]


def test_the_table_compares_exchanged_memories_over_the_same_tokens():
  ok = [True, True, True, False, True, True]
  results = summary(losses([8, 6, 4, 2, 8, 5], exchanged=[8, 6, 6, 99, 8, 5], exchanged_ok=ok))
  assert [line.split()[-2:] for line in results_table(results).splitlines()[3:]] == [
    ['1.6500', '1.5000'],
    ['1.5500', '1.0000'],
  ]


def test_the_share_of_unk_has_a_line():
  table = losses([8, 6, 4, 2, 8, 5])
  table.unk_rg[3] = 1
  assert results_table(summary(table)).splitlines()[-1].startswith('4.5 % of the targets are <unk>')


def test_a_loss_that_is_not_finite_can_be_printed():
  assert results_table(summary(losses([math.nan] * 6))).splitlines()[1].split()[-2:] == ['-', '-']


def test_every_group_of_targets_has_a_line():
  assert results_table(two_groups()).splitlines()[-3:] == [
    'accuracy                     memory  emptied  exchanged',
    'near                         0.6667        -          -',
    'far                          0.8000        -          -',
  ]
