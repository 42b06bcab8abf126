"""Paired comparisons with the setting without a memory, against values computed by hand."""

import math

import numpy as np
import pytest

from infformer_jax.ablation.comparison import comparisons
from infformer_jax.results_schema import Comparison
from tests.ablation.sweep import TOKENS, text_run
from tests.schema import assert_conforms

ALL, BEYOND = 'loss_nats_per_token', 'loss_beyond_reach_nats_per_token'
NONE = np.array([120.0, 80.0, 100.0, 45.0])
BASELINE = [text_run(('none',), seed, 'none', NONE + 10 * seed) for seed in range(3)]


def shifted(name, kind, *shifts, **changes):
  """One run per seed, whose loss per token is that of the baseline plus the shift of its seed."""
  return [
    text_run((name,), seed, kind, NONE + 10 * seed + shift * np.array(TOKENS), **changes)
    for seed, shift in enumerate(shifts)
  ]


def compared(runs, measure=ALL):
  """{setting: its comparison}."""
  found = comparisons(runs)
  for entry in found:
    assert_conforms(entry, Comparison)
  return {', '.join(entry['values']): entry for entry in found if entry['measure'] == measure}


def test_the_difference_is_a_mean_over_pairs_with_errors_over_seeds_and_documents():
  """Documents of 20 tokens beyond the reach: both errors are those of a mean of equal parts."""
  rng = np.random.default_rng(0)
  none, memory = rng.normal(50, 9, size=(2, 3, 3))  # seeds, documents
  runs = [text_run(('none',), seed, 'none', NONE, [*none[seed], 0.0]) for seed in range(3)]
  runs += [text_run(('signal',), seed, 'continuous', NONE, [*memory[seed], 0.0]) for seed in range(3)]
  entry = compared(runs, BEYOND)['signal']
  per_token = (memory - none) / 20
  assert entry['difference'] == pytest.approx(per_token.mean())
  assert entry['standard_error_over_seeds'] == pytest.approx(per_token.mean(1).std(ddof=1) / math.sqrt(3))
  assert entry['standard_error_over_documents'] == pytest.approx(per_token.mean(0).std(ddof=1) / math.sqrt(3))
  assert (entry['num_seeds'], entry['num_documents'], entry['minus']) == (3, 3, ['none'])


def test_losses_that_vary_with_the_seed_cancel():
  entry = compared([*BASELINE, *shifted('signal', 'continuous', -0.2, -0.2, -0.2)])['signal']
  assert entry['difference'] == pytest.approx(-0.2)
  assert entry['standard_error_over_seeds'] == pytest.approx(0, abs=1e-9)
  assert entry['standard_error_over_documents'] == pytest.approx(0, abs=1e-9)
  assert entry['num_documents'] == 4


def test_only_seeds_of_both_settings_are_paired_and_one_seed_has_no_error():
  entry = compared([BASELINE[0], *shifted('signal', 'continuous', -0.2, 5.0, 5.0)])['signal']
  assert (entry['num_seeds'], entry['difference']) == (1, pytest.approx(-0.2))
  assert entry['standard_error_over_seeds'] is None
  assert entry['standard_error_over_documents'] == pytest.approx(0, abs=1e-9)
  entry = compared([BASELINE[0], *shifted('signal', 'continuous', -0.2, 5.0)[1:]])['signal']
  assert (entry['num_seeds'], entry['difference']) == (0, None)
  assert entry['difference_reason'] == 'no seed is finished in both settings'


def test_the_ceiling_is_the_best_exact_window_and_others_are_shares_of_its_gain():
  runs = [
    *BASELINE,
    *shifted('recent', 'recent', -0.1, -0.1, -0.1),
    *shifted('recent_4x', 'recent', -0.41, -0.40, -0.39),
    *shifted('signal', 'continuous', -0.2, -0.3, -0.1),
    *shifted('worse', 'neighbours', 0.1, 0.1, 0.1),
    *shifted('best', 'continuous', -0.6, -0.6, -0.6),
  ]
  entries = compared(runs)
  assert [name for name, entry in entries.items() if entry['is_ceiling']] == ['recent_4x']
  shares = {name: entry['share_of_ceiling'] for name, entry in entries.items()}
  expected = {'recent': 0.25, 'recent_4x': 1, 'signal': 0.5, 'worse': -0.25, 'best': 1.5}
  assert shares == {name: pytest.approx(share) for name, share in expected.items()}


@pytest.mark.parametrize(
  ('windows', 'reason'),
  [
    ((), "no setting has memory.kind = 'recent'"),
    ((-0.1,), 'the ceiling has one seed'),
    ((0.1, 0.1, 0.1), 'the ceiling gains nothing significant'),
    ((-0.20, -0.02, 0.01), 'the ceiling gains nothing significant'),  # .07 ± .066
    ((-0.20, -0.10, -0.09), 'the ceiling gains nothing significant'),  # 3.7 standard errors of 4.303
    ((-0.18, -0.11, -0.10), ''),  # 5.2
    ((-0.21, -0.17), 'the ceiling gains nothing significant'),  # 9.5 of 12.706
    ((-0.21, -0.18), ''),  # 13
  ],
)
def test_the_gain_of_a_ceiling_must_be_significant_by_the_t_of_its_seeds(windows, reason):
  runs = [
    *BASELINE,
    *shifted('recent', 'recent', *windows),
    *shifted('signal', 'continuous', -0.2, -0.2, -0.2),
  ]
  entry = compared(runs)['signal']
  assert entry.get('share_of_ceiling_reason', '') == reason
  assert (entry['share_of_ceiling'] is None) == bool(reason)


@pytest.mark.parametrize(
  ('num_windows', 'errors', 'significant'), [(1, 4.303, True), (2, 6.205, False), (5, 9.925, False)]
)
def test_the_required_gain_grows_with_the_number_of_windows(num_windows, errors, significant):
  """The best window gains 5.2 of its standard errors; the others gain nothing."""
  others = [run for n in range(1, num_windows) for run in shifted(f'recent_{n}', 'recent', 0.0, 0.0, 0.0)]
  entry = compared([*BASELINE, *others, *shifted('recent', 'recent', -0.18, -0.11, -0.10)])['recent']
  assert entry['is_ceiling']
  error = np.std([0.18, 0.11, 0.10], ddof=1) / math.sqrt(3)
  assert entry['significant_gain'] == pytest.approx(errors * error, rel=1e-3)
  assert (entry['share_of_ceiling'] is not None) == significant


@pytest.mark.parametrize('num_seeds', [2, 3, 5])
def test_windows_that_change_nothing_are_rarely_significant(num_seeds):
  """In at most 2.5 % of sweeps: the best of three windows that differ from no memory by noise only."""
  rng, num_sweeps, significant = np.random.default_rng(0), 400, 0
  for _ in range(num_sweeps):
    runs = [
      text_run((name,), seed, 'recent' if name else 'none', NONE)
      | {'accuracy': float(rng.normal()), 'is_task': True}
      for name in ('', 'a', 'b', 'c')
      for seed in range(num_seeds)
    ]
    (ceiling,) = [
      entry for entry in comparisons(runs) if entry['is_ceiling'] and entry['measure'] == 'accuracy'
    ]
    significant += ceiling['share_of_ceiling'] is not None
  assert significant <= 20  # at most 10 are expected; two standard errors give 50 to 100


def test_documents_that_disagree_make_a_gain_insignificant_by_their_own_t():
  """All seeds agree on a gain of which one document has almost all."""
  nats = NONE - [40, 0, 0, 0]
  runs = [*BASELINE, *(text_run(('recent',), seed, 'recent', nats + 10 * seed) for seed in range(3))]
  entry = compared(runs)['recent']
  assert entry['standard_error_over_seeds'] == pytest.approx(0, abs=1e-9)
  assert entry['difference'] == pytest.approx(-40 / 135)
  assert entry['standard_error_over_documents'] > 0.15
  over_documents = entry['standard_error_over_documents']
  assert entry['significant_gain'] == pytest.approx(3.182 * over_documents, rel=1e-3)  # 3 degrees of freedom
  assert entry['share_of_ceiling'] is None


def test_settings_are_compared_at_the_same_value_of_the_other_axis():
  levels = {'512': 0.0, '1024': 1.0}
  runs = []
  for name, kind, change in (('none', 'none', 0.0), ('w', 'recent', -0.4), ('s', 'continuous', -0.1)):
    for length, level in levels.items():
      nats = NONE + (level + change * (2 if length == '512' else 1)) * np.array(TOKENS)
      runs += [text_run((name, length), seed, kind, nats, text=length) for seed in range(2)]
  entries = compared(runs)
  assert {name: entry['minus'] for name, entry in entries.items()} == {
    f'{name}, {length}': ['none', length] for name in 'ws' for length in levels
  }
  assert entries['s, 512']['difference'] == pytest.approx(-0.2)
  assert entries['s, 1024']['difference'] == pytest.approx(-0.1)
  assert [name for name, entry in entries.items() if entry['is_ceiling']] == ['w, 512', 'w, 1024']
  assert entries['s, 1024']['share_of_ceiling'] == pytest.approx(0.25)


def test_runs_on_other_texts_or_with_another_reach_are_not_compared():
  other = compared([*BASELINE, *shifted('signal', 'continuous', -0.2, -0.2, text='b')])['signal']
  assert (other['difference'], other['share_of_ceiling']) == (None, None)
  assert other['difference_reason'] == 'the runs were evaluated on different texts'
  runs = shifted('signal', 'continuous', -0.2, -0.2)
  for run in runs:
    run['by_document'] = run['by_document'] | {'num_tokens_beyond_reach': [20, 20, 10, 0]}
  assert compared([*BASELINE, *runs])['signal']['difference'] == pytest.approx(-0.2)
  other = compared([*BASELINE, *runs], BEYOND)['signal']
  assert other['difference_reason'] == 'the runs do not have the same tokens beyond the reach'
  for run in runs:
    run['by_document'] = run['by_document'] | {'num_tokens': [40, 40, 30, 15]}
  other = compared([*BASELINE, *runs])['signal']
  assert other['difference_reason'] == 'the runs do not have the same tokens'


def test_exact_windows_that_cannot_be_compared_are_not_called_missing():
  runs = [*BASELINE, *shifted('signal', 'continuous', -0.2, -0.2)]
  entry = compared([*runs, *shifted('recent', 'recent', -0.4, float('nan'))])['signal']
  assert entry['share_of_ceiling_reason'] == 'no exact window can be compared'
  assert compared(runs)['signal']['share_of_ceiling_reason'] == "no setting has memory.kind = 'recent'"


def test_a_loss_that_is_not_finite_and_short_documents_give_reasons():
  runs = shifted('signal', 'continuous', -0.2, -0.2)
  runs[1]['by_document']['nats'][2] = None
  assert compared([*BASELINE, *runs])['signal']['difference_reason'] == 'a loss is not a finite number'
  runs = [*BASELINE, *shifted('signal', 'continuous', -0.2, -0.2)]
  short = [run | {'by_document': run['by_document'] | {'num_tokens_beyond_reach': [0] * 4}} for run in runs]
  assert compared(short, BEYOND)['signal']['difference_reason'] == 'no document has tokens beyond the reach'


def test_a_task_is_compared_by_accuracy_over_seeds():
  def run(name, kind, seed, accuracy):
    return text_run((name,), seed, kind, NONE) | {'accuracy': accuracy, 'is_task': True}

  accuracies = {'none': (0.3, 0.5), 'recent': (0.7, 0.91), 'signal': (0.5, 0.7)}
  kinds = {'none': 'none', 'recent': 'recent', 'signal': 'continuous'}
  runs = [run(name, kinds[name], seed, a) for name, pair in accuracies.items() for seed, a in enumerate(pair)]
  entries = compared(runs, 'accuracy')
  assert entries['recent']['difference'] == pytest.approx(0.405)
  assert entries['recent']['standard_error_over_seeds'] == pytest.approx(0.005)
  assert entries['recent']['standard_error_over_documents'] is None
  assert entries['recent']['is_ceiling']
  assert entries['signal']['share_of_ceiling'] == pytest.approx(0.2 / 0.405)
  assert {entry['measure'] for entry in comparisons(runs)} == {'accuracy', ALL}


def test_without_a_setting_that_has_no_memory_there_are_no_comparisons():
  assert comparisons(shifted('signal', 'continuous', -0.2)) == []
  assert comparisons(BASELINE) == []
  assert comparisons([]) == []
