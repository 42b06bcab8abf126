"""Lanes lose, repeat and mix no tokens; a position is one integer; batches do not depend on the processes."""

import collections
import itertools

import numpy as np
import pytest

from infformer_jax.data.base import StoredSplit
from infformer_jax.data.lanes import evaluated_lengths, evaluation_batches, train_batches
from infformer_jax.data.load import load_corpus
from infformer_jax.data.stdlib import StdlibConfig
from infformer_jax.errors import UserError

BOS = 999_999


def make_split(lengths):
  """All tokens are distinct, so that a token identifies its document and position."""
  return StoredSplit.from_tokens([np.arange(length) + 1000 * index for index, length in enumerate(lengths)])


LENGTHS = [2, 3, 40, 7, 8, 9, 16, 17, 121, 5, 64, 33, 2, 8]


def options(num_lanes=4, lanes=None, segment_length=8, segments_per_chunk=3, **others):
  return {
    'bos_id': BOS,
    'num_lanes': num_lanes,
    'lanes': range(num_lanes) if lanes is None else lanes,
    'segment_length': segment_length,
    'segments_per_chunk': segments_per_chunk,
    **others,
  }


def train(split, *, seed=0, **others):
  return train_batches(split, **options(**others), seed=seed)


def evaluation(split, **others):
  return evaluation_batches(split, **options(**others))


def fields(batch):
  return {name: getattr(batch, name) for name in batch.__dataclass_fields__}


def assert_equal(one, other):
  for name, value in fields(one).items():
    np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def joined(batches):
  """All batches concatenated along s, as one dict of arrays."""
  batches = [fields(batch) for batch in batches]
  return {name: np.concatenate([batch[name] for batch in batches], axis=1) for name in batches[0]}


def readings(split, lane):
  """The (document, tokens) that one lane reads; also checks every input, mask and index."""
  starts = np.flatnonzero(lane['new_doc_bs'])
  assert starts[0] == 0
  for start, stop in itertools.pairwise([*starts, len(lane['new_doc_bs'])]):
    document = int(lane['document_bs'][start])
    ok = lane['ok_bsl'][start:stop].ravel()
    if document == -1:
      assert not ok.any()
      assert (stop, lane['segment_bs'][start]) == (start + 1, -1)
      continue
    np.testing.assert_array_equal(lane['document_bs'][start:stop], document)
    np.testing.assert_array_equal(lane['segment_bs'][start:stop], np.arange(stop - start))
    targets = lane['targets_bsl'][start:stop].ravel()[ok]
    inputs = lane['tokens_bsl'][start:stop].ravel()[ok]
    np.testing.assert_array_equal(inputs, [BOS, *targets[:-1]])
    assert not ok[len(targets) :].any(), 'padding must be at the end'
    assert np.all(lane['targets_bsl'][start:stop][~lane['ok_bsl'][start:stop]] == 0)
    yield document, targets


def lanes_of(stream):
  return [{name: value[row] for name, value in stream.items()} for row in range(len(stream['ok_bsl']))]


def expected_reading_order(split, num_lanes, segment_length, permutations):
  """A plain implementation of the lanes: per lane (epoch, document, segments of the lane up to its end)."""
  filled, orders = [0] * num_lanes, [[] for _ in range(num_lanes)]
  for epoch, documents in enumerate(permutations):
    for document in documents:
      lane = filled.index(min(filled))
      filled[lane] += -(-int(split.lengths[document]) // segment_length)
      orders[lane].append((epoch, document, filled[lane]))
  return orders


def assert_two_epochs_are_exact(split, num_lanes, segment_length, segments_per_chunk):
  """Reads until every lane has finished two epochs, and counts tokens by epoch and document."""
  permutations = [
    np.argsort(np.random.PCG64([0, epoch]).random_raw(len(split)), kind='stable').tolist()
    for epoch in range(4)
  ]
  assert permutations[0] != permutations[1]
  orders = expected_reading_order(split, num_lanes, segment_length, permutations)
  orders = [[(epoch, document, end) for epoch, document, end in order if epoch < 2] for order in orders]
  longest = max(end for order in orders for _, _, end in order)
  sizes = {'num_lanes': num_lanes, 'segment_length': segment_length, 'segments_per_chunk': segments_per_chunk}
  stream = joined(itertools.islice(train(split, **sizes), -(-longest // segments_per_chunk)))
  assert (stream['document_bs'] >= 0).all(), 'a lane must not idle'

  seen = collections.Counter()
  for lane, order in zip(lanes_of(stream), orders, strict=True):
    for (epoch, document, _), (read, tokens) in zip(order, readings(split, lane), strict=False):
      assert read == document
      np.testing.assert_array_equal(tokens, split.tokens(document))
      seen[epoch, document] += 1
  assert seen == dict.fromkeys(itertools.product(range(2), range(len(split))), 1)


@pytest.mark.parametrize('sizes', [(4, 8, 3), (1, 16, 1), (3, 5, 7)])
def test_two_epochs_lose_repeat_and_mix_no_tokens(sizes):
  assert_two_epochs_are_exact(make_split(LENGTHS), *sizes)


@pytest.mark.slow
def test_two_epochs_of_the_standard_library_are_exact(tmp_path):
  corpus = load_corpus(StdlibConfig(tokenizer='bytes'), tmp_path)
  assert_two_epochs_are_exact(corpus.split('train'), 16, 512, 8)


def test_lanes_advance_at_equal_rates():
  split = make_split(LENGTHS)
  longest = -(-max(LENGTHS) // 8)
  num_lanes = 4
  steps = 50
  stream = joined(itertools.islice(train(split, num_lanes=num_lanes), steps))
  ends = [np.flatnonzero(lane['new_doc_bs'])[-1] for lane in lanes_of(stream)]
  assert max(ends) - min(ends) <= longest


def test_resuming_at_any_step_gives_the_same_batches():
  split = make_split(LENGTHS)
  batches = list(itertools.islice(train(split), 40))
  for start in range(40):
    assert_equal(batches[start], next(train(split, start=start)))
  for batch, again in zip(batches[17:], train(split, start=17), strict=False):
    assert_equal(batch, again)


@pytest.mark.parametrize('batches_of', [train, evaluation])
@pytest.mark.parametrize('num_processes', [2, 3, 6])
def test_the_slices_of_the_processes_form_the_whole_batch(batches_of, num_processes):
  split = make_split(LENGTHS)
  own = 6 // num_processes
  whole = list(itertools.islice(batches_of(split, num_lanes=6), 30))
  parts = [
    list(itertools.islice(batches_of(split, num_lanes=6, lanes=range(i * own, (i + 1) * own)), 30))
    for i in range(num_processes)
  ]
  assert {len(part) for part in parts} == {len(whole)}
  for step, batch in enumerate(whole):
    for name, value in fields(batch).items():
      np.testing.assert_array_equal(value, np.concatenate([getattr(part[step], name) for part in parts]))


def test_different_seeds_give_different_orders():
  split = make_split(LENGTHS)
  assert (next(train(split, seed=1)).document_bs != next(train(split, seed=2)).document_bs).any()


@pytest.mark.parametrize('num_lanes', [1, 4, 40])
def test_evaluation_covers_every_token_once_from_an_empty_memory(num_lanes):
  split = make_split(LENGTHS)
  batches = evaluation(split, num_lanes=num_lanes)
  assert len(list(batches)) == len(batches) == len(list(batches))
  seen = dict(itertools.chain.from_iterable(readings(split, lane) for lane in lanes_of(joined(batches))))
  assert sorted(seen) == list(range(len(split)))
  for document, tokens in seen.items():
    np.testing.assert_array_equal(tokens, split.tokens(document))
  assert sum(batch.ok_bsl.sum() for batch in batches) == sum(LENGTHS)


def test_evaluation_reads_the_longest_documents_first_with_little_padding():
  split = make_split(LENGTHS)
  batches = evaluation(split, num_lanes=3, segments_per_chunk=1)
  first = next(iter(batches))
  assert first.document_bs[:, 0].tolist() == [8, 10, 2]  # With 121, 64 and 40 tokens.
  total = sum(-(-length // 8) for length in LENGTHS)
  assert len(batches) == max(-(-121 // 8), -(-total // 3))


def test_evaluation_with_a_token_limit_takes_documents_in_order_and_cuts_the_last():
  split = make_split([5, 9, 30, 4])
  assert evaluated_lengths(split).tolist() == [5, 9, 30, 4]
  assert evaluated_lengths(split, 20).tolist() == [5, 9, 6, 0]
  assert evaluated_lengths(split, 14).tolist() == [5, 9, 0, 0]
  assert evaluated_lengths(split, 1000).tolist() == [5, 9, 30, 4]
  for num_lanes in 1, 3:
    lanes = lanes_of(joined(evaluation(split, num_lanes=num_lanes, max_tokens=20)))
    seen = dict(itertools.chain.from_iterable(readings(split, lane) for lane in lanes))
    assert {document: len(tokens) for document, tokens in seen.items()} == {0: 5, 1: 9, 2: 6}
    np.testing.assert_array_equal(seen[2], split.tokens(2, 0, 6))


def test_an_empty_split_is_an_error():
  with pytest.raises(UserError, match='no document of at least 2 tokens'):
    train(make_split([]))
  with pytest.raises(UserError, match='no document of at least 2 tokens'):
    evaluation(make_split([]))


def test_batches_have_the_documented_dtypes_and_shapes():
  batch = next(train(make_split(LENGTHS)))
  dtypes = {name: (str(value.dtype), value.shape) for name, value in fields(batch).items()}
  assert dtypes == {
    'tokens_bsl': ('int32', (4, 3, 8)),
    'targets_bsl': ('int32', (4, 3, 8)),
    'ok_bsl': ('bool', (4, 3, 8)),
    'group_bsl': ('int32', (4, 3, 8)),
    'new_doc_bs': ('bool', (4, 3)),
    'document_bs': ('int32', (4, 3)),
    'segment_bs': ('int32', (4, 3)),
  }
