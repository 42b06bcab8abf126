"""Figures of an evaluation, compared with values computed by hand."""

import json
import math

import numpy as np
import pytest

from infformer_jax.data.base import StoredSplit
from infformer_jax.data.tasks import TaskSplit
from infformer_jax.evaluation.results import NO_CONTROL, metrics, summarize
from infformer_jax.evaluation.segment_losses import SegmentLosses
from infformer_jax.results_schema import Summary
from tests.schema import assert_conforms

LENGTH, SHORT = 4, 4  # l and M in tokens; segments from index 2 on are beyond the reach.
ALL_OK = [True] * 6


def losses(
  memory, emptied=None, exchanged=None, exchanged_ok=ALL_OK, segments=(0, 1, 2, 3, 0, 1), tokens=None
):
  """By default document 0 has segments 0 to 3 with 14 tokens, document 1 has segments 0 and 1 with 8."""
  views = {'memory': memory, 'emptied': emptied, 'exchanged': exchanged}
  nll = {view: np.array(nats, float) for view, nats in views.items() if nats is not None}
  ok = {view: np.array(exchanged_ok if view == 'exchanged' else ALL_OK) for view in nll}
  document = np.cumsum(np.array(segments) == 0) - 1
  tokens = np.array([4, 4, 4, 2, 4, 4] if tokens is None else tokens)
  return table_of(document, np.array(segments), tokens, nll, ok)


def table_of(document, segment, tokens, nll, ok, correct=0):
  """A table of losses with one group of targets."""
  return SegmentLosses(
    document_r=document,
    segment_r=segment,
    tokens_rg=tokens[:, None],
    unk_rg=np.zeros((len(tokens), 1), int),
    nll_nats_rg={view: nats[:, None] for view, nats in nll.items()},
    correct_rg={view: np.full((len(tokens), 1), correct) for view in nll},
    ok_r=ok,
  )


def split_of(*lengths, words=None, num_bytes=None):
  split = StoredSplit.from_tokens([np.zeros(n, np.int32) for n in lengths])
  words = split.words if words is None else np.array(words)
  num_bytes = split.bytes if num_bytes is None else np.array(num_bytes)
  return StoredSplit(ids=split.ids, offsets=split.offsets, words=words, bytes=num_bytes, names=split.names)


def summary(table, split=None, lossless=True, short=SHORT):
  absent = {view: 'not today' for view in ('emptied', 'exchanged') if view not in table.ok_r}
  split = split_of(14, 8, words=[5, 6], num_bytes=[30, 14]) if split is None else split
  results = summarize(
    table, split, lossless=lossless, segment_length=LENGTH, short_term_length=short, absent=absent
  )
  json.dumps(results, allow_nan=False)  # All values must be valid JSON.
  assert_conforms(results, Summary)
  return results


def test_figures_of_the_memory_equal_those_computed_by_hand():
  figures = summary(losses([8, 6, 4, 2, 8, 5]))['memory']
  assert figures['num_tokens'] == 22
  assert figures['loss_nats_per_token'] == pytest.approx(33 / 22)
  assert figures['perplexity_per_token'] == pytest.approx(math.exp(33 / 22))
  assert figures['perplexity_per_word'] == pytest.approx(math.exp(33 / 11))
  assert figures['bits_per_byte'] == pytest.approx(33 / math.log(2) / 44)
  assert figures['beyond_reach'] == {
    'loss_nats_per_token': pytest.approx(1),
    'perplexity_per_token': pytest.approx(math.e),
    'accuracy': 0,
    'num_tokens': 6,
  }


def test_the_reach_depends_on_the_short_term_length():
  table = losses([8, 6, 4, 2, 8, 5])
  assert summary(table, short=0)['memory']['beyond_reach']['num_tokens'] == 14  # From segment 1 on.
  assert summary(table, short=0)['beyond_reach_from_token'] == 4
  results = summary(table, short=12)
  assert results['memory']['beyond_reach'] is None
  assert results['memory']['beyond_reach_reason'] == 'no document is longer than 16 tokens, the reach'


def test_words_and_bytes_are_those_of_the_evaluated_documents():
  whole_prefix = losses([1, 1, 1, 1, 1, 1])
  three = split_of(14, 8, 100, words=[5, 6, 1000], num_bytes=[30, 14, 1000])
  assert summary(whole_prefix, three)['num_words'] == 11
  cut = summary(whole_prefix, split_of(14, 9))
  for name in ('perplexity_per_word', 'bits_per_byte'):
    assert cut['memory'][name] is None
    assert 'max_tokens cuts a document' in cut['memory'][f'{name}_reason']
  assert cut['memory']['loss_nats_per_token'] == pytest.approx(6 / 22)


def test_a_tokenizer_that_loses_text_has_no_bits_per_byte():
  figures = summary(losses([1, 1, 1, 1, 1, 1]), lossless=False)['memory']
  assert figures['bits_per_byte'] is None
  assert figures['bits_per_byte_reason'] == 'the tokenizer loses text'
  assert summary(losses([1, 1, 1, 1, 1, 1]), lossless=False)['num_bytes'] == 44
  assert figures['perplexity_per_word'] == pytest.approx(math.exp(6 / 11))


def test_figures_per_text_are_lower_bounds_where_targets_are_unk():
  table = losses([8, 6, 4, 2, 8, 5])
  table.unk_rg[3] = 1
  results = summary(table)
  figures = results['memory']
  assert results['unk_share'] == 1 / 22
  assert figures['perplexity_per_word'] is figures['bits_per_byte'] is None
  reason = '1 of 22 targets are <unk>, whose text is not predicted; the value is at least 20.09'
  assert figures['perplexity_per_word_reason'] == reason


def test_segments_without_another_lane_are_excluded_from_the_control_and_counted():
  ok = [True, True, True, False, True, True]
  results = summary(losses([8, 6, 4, 2, 8, 5], exchanged=[8, 6, 6, 99, 8, 5], exchanged_ok=ok))
  exchanged = results['exchanged']
  assert exchanged['num_segments_left_out'] == 1
  assert exchanged['num_tokens'] == 20
  assert exchanged['loss_nats_per_token'] == pytest.approx(33 / 20)
  assert exchanged['beyond_reach']['loss_nats_per_token'] == pytest.approx(6 / 4)
  same = exchanged['memory_over_the_same_tokens']
  assert (same['num_tokens'], same['beyond_reach']['num_tokens']) == (20, 4)
  assert same['beyond_reach']['loss_nats_per_token'] == pytest.approx(1)
  assert exchanged['perplexity_per_word'] is None
  assert 'left out' in exchanged['perplexity_per_word_reason']
  assert results['memory_minus']['exchanged']['nats_per_token'] == pytest.approx((4 - 6) / 4)
  assert results['by_document']['exchanged']['nats_beyond_reach'] == [6, 0]


def test_a_control_that_was_never_possible_is_null_with_a_reason():
  beyond_never = [True, True, False, False, True, True]
  results = summary(losses([1] * 6, exchanged=[1] * 6, exchanged_ok=beyond_never))
  assert (results['emptied'], results['emptied_reason']) == (None, 'not today')
  assert (results['exchanged'], results['exchanged_reason']) == (None, NO_CONTROL)
  assert results['memory_minus']['emptied'] is None
  assert results['memory_minus']['emptied_reason'] == 'not today'


def test_for_equally_long_documents_the_paired_difference_is_a_mean_with_the_usual_error():
  segments = (0, 1, 2, 0, 1, 2, 0, 1, 2)
  control = np.ones(9)
  memory = control - [0, 0, 1.2, 0, 0, 0.4, 0, 0, -0.4]
  table = table_of(
    np.repeat([0, 1, 2], 3),
    np.array(segments),
    np.full(9, 4),
    {'memory': memory, 'emptied': control},
    {'memory': np.ones(9, bool), 'emptied': np.ones(9, bool)},
  )
  results = summary(table, split_of(12, 12, 12))
  per_document = np.array([-0.3, -0.1, 0.1])
  assert results['memory_minus']['emptied'] == {
    'nats_per_token': pytest.approx(per_document.mean()),
    'standard_error': pytest.approx(per_document.std(ddof=1) / math.sqrt(3)),
    'num_documents': 3,
    'num_documents_with_lower_loss': 2,
  }


def test_the_paired_difference_is_the_difference_of_the_losses():
  segments, tokens = (0, 1, 2, 3, 0, 1, 2), [4, 4, 4, 2, 4, 4, 3]
  table = losses([1.0] * 7, segments=segments, tokens=tokens)
  table.nll_nats_rg['emptied'] = np.array([1, 1, 1.5, 2.5, 1, 1, 0.8])[:, None]
  table.correct_rg['emptied'] = np.zeros((7, 1))
  table.ok_r.update(memory=np.ones(7, bool), emptied=np.ones(7, bool))
  results = summary(table, split_of(14, 11))
  memory, emptied = (results[view]['beyond_reach']['loss_nats_per_token'] for view in ('memory', 'emptied'))
  assert results['memory_minus']['emptied']['nats_per_token'] == pytest.approx(memory - emptied)
  # Residuals d - r T of the two documents: -2 + 1.8/9 · 6 = -.8 and .2 + 1.8/9 · 3 = .8.
  assert results['memory_minus']['emptied']['standard_error'] == pytest.approx(math.sqrt(2 * 2 * 0.8**2) / 9)


def test_one_document_has_no_standard_error():
  difference = summary(losses([1] * 6, emptied=[2] * 6))['memory_minus']['emptied']
  assert difference['num_documents'] == 1  # Only document 0 extends beyond the reach.
  assert difference['standard_error'] is None
  assert difference['standard_error_reason'] == 'only one document'


def test_positions_are_whole_segments_and_cover_all_tokens():
  rng = np.random.default_rng(0)
  segments = np.concatenate([np.arange(n) for n in (100, 37, 5)])
  nll = rng.random(142)
  table = table_of(
    np.repeat([0, 1, 2], (100, 37, 5)),
    segments,
    np.full(142, 4),
    {'memory': nll, 'emptied': nll + (segments >= 3)},
    {'memory': np.ones(142, bool), 'emptied': np.ones(142, bool)},
  )
  results = summary(table, split_of(400, 148, 20), short=8)
  positions = results['by_position']
  assert positions['start_tokens'][0] == 0
  assert positions['stop_tokens'][-1] == 400
  assert positions['start_tokens'][1:] == positions['stop_tokens'][:-1]
  assert 12 in positions['start_tokens']
  assert sum(positions['num_tokens']) == 142 * 4
  assert (positions['num_documents'][0], positions['num_documents'][-1]) == (3, 1)
  weighted = np.dot(positions['loss_nats_per_token']['memory'], positions['num_tokens']) / (142 * 4)
  assert weighted == pytest.approx(results['memory']['loss_nats_per_token'])
  expected = [-0.25 if start >= 12 else 0 for start in positions['start_tokens']]
  assert positions['memory_minus']['emptied']['nats_per_token'] == pytest.approx(expected)


def test_infinite_losses_are_null_in_valid_json():
  figures = summary(losses([8, 6, math.nan, 2, 8, 5]))['memory']
  for name in ('loss_nats_per_token', 'accuracy'):
    assert (figures[name], figures[f'{name}_reason']) == (None, 'not a finite number')
  figures = summary(losses([1e4] * 6))['memory']
  assert figures['loss_nats_per_token'] == pytest.approx(6e4 / 22)
  assert figures['perplexity_per_word'] is None


def test_metrics_contain_all_losses():
  flat = metrics(summary(losses([8, 6, 4, 2, 8, 5], emptied=[8, 6, 7, 2, 8, 5])))
  assert flat['loss_nats_per_token'] == pytest.approx(1.5)
  assert flat['emptied_loss_beyond_reach_nats_per_token'] == pytest.approx(1.5)
  assert not any(name.startswith('exchanged') for name in flat)


def two_groups():
  """Three documents with targets only in the last segment, in one of two groups or in both."""
  table = SegmentLosses(
    document_r=np.array([0, 1, 2]),
    segment_r=np.array([3, 3, 3]),
    tokens_rg=np.array([[2, 0], [0, 4], [1, 1]]),
    nll_nats_rg={'memory': np.array([[2.0, 0], [0, 2.0], [1.0, 3.0]])},
    unk_rg=np.zeros((3, 2), int),
    correct_rg={'memory': np.array([[1, 0], [0, 4], [1, 0]])},
    ok_r={'memory': np.ones(3, bool)},
  )
  split = TaskSplit(offsets=np.arange(4) * 16, groups=('near', 'far'), make=lambda index: None)
  return summary(table, split)


def test_figures_are_reported_per_group_of_targets():
  results = two_groups()
  assert results['memory']['accuracy'] == pytest.approx(6 / 8)
  assert results['memory']['loss_nats_per_token'] == pytest.approx(1)
  assert results['num_words'] is None
  assert results['num_words_reason'] == 'the data are not text'
  near, far = (results['by_group'][name]['memory'] for name in ('near', 'far'))
  assert (near['accuracy'], near['num_tokens']) == (pytest.approx(2 / 3), 3)
  assert (far['loss_nats_per_token'], far['num_tokens']) == (pytest.approx(1), 5)
  assert metrics(results)['accuracy_far'] == pytest.approx(4 / 5)
