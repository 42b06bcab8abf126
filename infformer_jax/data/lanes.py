"""Lanes: rows of the batch that stream one document after another.

A document of T tokens is ceil(T/l) segments: BOS and its first T-1 tokens as inputs, its T tokens as targets,
the last segment padded. Documents start at segment boundaries and go, in order, to the lane that is shortest
so far. A chunk is s consecutive segments of every lane, and chunk number `step` is a pure function of the
documents' lengths and the seed: the position of the whole stream is that one integer, for any number of
processes.

    lane 0   | doc 4 ........ | doc 1 ... |       length 5
    lane 1   | doc 0 .. | doc 3 | doc 2 ....... | length 6; the next document goes to lane 0
"""

import bisect
import dataclasses
import heapq
import itertools
import threading
from array import array
from collections.abc import Iterable, Iterator

import grain
import numpy as np

from infformer_jax.data.base import Split
from infformer_jax.errors import UserError
from infformer_jax.types import Batch

_READ_AHEAD = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)  # chunks; grain's default is 500


def train_batches(
  split: Split,
  bos_id: int,
  *,
  num_lanes: int,
  lanes: range,
  segment_length: int,
  segments_per_chunk: int,
  seed: int,
  start: int = 0,
) -> Iterator[Batch]:
  """An infinite stream of chunks: each epoch permutes the documents, and no lane idles between epochs.

  Args:
    split: the documents.
    bos_id: the first input of every document.
    num_lanes: rows of the batch over all processes.
    lanes: the rows of this process.
    segment_length: l, tokens.
    segments_per_chunk: s.
    seed: of the permutations.
    start: the first step; nothing before it is read.
  Returns:
    Batches of NumPy arrays with len(lanes) rows, read ahead by threads.
  Raises:
    UserError: the split is empty.
  """
  _require_documents(split)
  lengths = split.lengths
  documents = _epochs(len(split), seed)
  chunks = _Chunks(
    split=split,
    lengths=lengths,
    bos_id=bos_id,
    plan=_Plan(_segments(lengths, segment_length), documents, num_lanes, lanes),
    segment_length=segment_length,
    segments_per_chunk=segments_per_chunk,
    num_chunks=2**62,
  )
  return iter(grain.MapDataset.source(chunks)[start:].to_iter_dataset(_READ_AHEAD))


def evaluation_batches(
  split: Split,
  bos_id: int,
  *,
  num_lanes: int,
  lanes: range,
  segment_length: int,
  segments_per_chunk: int,
  max_tokens: int | None = None,
) -> 'EvaluationBatches':
  """Every token once, each document from an empty memory: longest document first, each to the shortest lane.

  The number of steps is the same on every process. A lane without further documents idles: ok False, new_doc
  True, document and segment -1.

  Args:
    split, bos_id, num_lanes, lanes, segment_length, segments_per_chunk: as in `train_batches`.
    max_tokens: evaluate at most this many tokens, which `evaluated_lengths` selects.
  Returns:
    A sized iterable of batches, which can be iterated again.
  Raises:
    UserError: the split is empty.
  """
  _require_documents(split)
  lengths = evaluated_lengths(split, max_tokens)
  order = np.argsort(-lengths, kind='stable')[: np.count_nonzero(lengths)]
  plan = _Plan(_segments(lengths, segment_length), iter(order.tolist()), num_lanes, lanes)
  chunks = _Chunks(
    split=split,
    lengths=lengths,
    bos_id=bos_id,
    plan=plan,
    segment_length=segment_length,
    segments_per_chunk=segments_per_chunk,
    num_chunks=-(-plan.finish() // segments_per_chunk),
  )
  return EvaluationBatches(chunks)


def evaluated_lengths(split: Split, max_tokens: int | None = None) -> np.ndarray:
  """Tokens of each document that an evaluation covers, int64.

  Documents in the order of the split until `max_tokens` is reached; the document that exceeds it is cut
  there, and later ones are not read. The selection depends neither on the lanes nor on the processes.
  """
  if max_tokens is None:
    return split.lengths
  before = split.offsets[:-1]
  return np.clip(max_tokens - before, 0, split.lengths)


def _require_documents(split: Split) -> None:
  if not len(split):
    raise UserError('split has no document of at least 2 tokens; add longer texts')


def _segments(lengths: np.ndarray, segment_length: int) -> np.ndarray:
  return -(-lengths // segment_length)


def _epochs(num_documents: int, seed: int) -> Iterator[int]:
  """An infinite sequence of permutations, from raw bits and a stable sort: NumPy's own may change."""
  for epoch in itertools.count():
    yield from np.argsort(np.random.PCG64([seed, epoch]).random_raw(num_documents), kind='stable').tolist()


class _Plan:
  """Which lane reads which document at which step. Only the lanes of this process are stored."""

  def __init__(self, segments: np.ndarray, documents: Iterator[int], num_lanes: int, lanes: range):
    self.lanes = lanes
    self._segments = segments.tolist()
    self._documents = documents
    self._shortest = [(0, lane) for lane in range(num_lanes)]  # a heap of (segments so far, lane)
    self._starts = {lane: array('q') for lane in lanes}
    self._read = {lane: array('q') for lane in lanes}
    self._lock = threading.Lock()  # chunks are made by several threads

  def extend(self, length: int) -> None:
    """Assigns documents until every lane has `length` segments."""
    with self._lock:
      while self._shortest[0][0] < length:
        document = next(self._documents, None)
        if document is None:
          return
        start, lane = self._shortest[0]
        if lane in self._starts:
          self._read[lane].append(document)
          self._starts[lane].append(start)  # last: `runs`, in another thread, relies on its length
        heapq.heapreplace(self._shortest, (start + self._segments[document], lane))

  def finish(self) -> int:
    """Assigns all documents, which must be finite; returns the segments of the longest lane."""
    self.extend(2**62)
    return max(length for length, _ in self._shortest)

  def runs(self, lane: int, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """What a lane reads in its segments start..stop.

    Yields:
      The number of segments after `start`, the document, its first segment to read, how many to read.
    """
    starts, read = self._starts[lane], self._read[lane]
    for i in range(max(bisect.bisect_right(starts, start) - 1, 0), len(starts)):
      if starts[i] >= stop:
        return
      first, last = max(starts[i], start), min(starts[i] + self._segments[read[i]], stop)
      if first < last:  # False if the lane has no further documents.
        yield first - start, read[i], first - starts[i], last - first


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Chunks:
  """A random-access source for grain: step -> Batch."""

  split: Split
  lengths: np.ndarray  # tokens of each document that are read
  bos_id: int
  plan: _Plan
  segment_length: int
  segments_per_chunk: int
  num_chunks: int

  def __len__(self) -> int:
    return self.num_chunks

  def __getitem__(self, step: int) -> Batch:
    length, per_chunk = self.segment_length, self.segments_per_chunk
    rows, start, stop = len(self.plan.lanes), step * per_chunk, (step + 1) * per_chunk
    tokens, targets = np.zeros((2, rows, per_chunk * length), np.int32)
    ok = np.zeros((rows, per_chunk * length), bool)
    group = np.full((rows, per_chunk * length), -1, np.int32)
    document, segment = np.full((2, rows, per_chunk), -1, np.int32)
    self.plan.extend(stop)
    for row, lane in enumerate(self.plan.lanes):
      for at, index, first, count in self.plan.runs(lane, start, stop):
        document[row, at : at + count] = index
        segment[row, at : at + count] = np.arange(first, first + count)
        begin, end = first * length, min((first + count) * length, int(self.lengths[index]))
        here = slice(at * length, at * length + end - begin)
        ids = self.split.tokens(index, begin, end)
        before = self.split.tokens(index, begin - 1, begin) if first else [self.bos_id]
        tokens[row, here] = np.concatenate([before, ids[:-1]])
        targets[row, here] = ids
        ok[row, here] = True
        group[row, here] = self.split.group(index, begin, end)
    shape = rows, per_chunk, length
    return Batch(
      tokens_bsl=tokens.reshape(shape),
      targets_bsl=targets.reshape(shape),
      ok_bsl=ok.reshape(shape),
      group_bsl=group.reshape(shape),
      new_doc_bs=segment <= 0,
      document_bs=document,
      segment_bs=segment,
    )


class EvaluationBatches(Iterable[Batch]):
  """The chunks of an evaluation, read ahead by threads."""

  def __init__(self, chunks: _Chunks):
    self._chunks = chunks

  def __len__(self) -> int:
    return len(self._chunks)

  def __iter__(self) -> Iterator[Batch]:
    return iter(grain.MapDataset.source(self._chunks).to_iter_dataset(_READ_AHEAD))
