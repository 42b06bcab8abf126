"""Documents cut into pieces: the same tokens in the same order, each piece as a separate document."""

import numpy as np
import pytest

from infformer_jax.data.base import Split, StoredSplit
from infformer_jax.data.cut_documents import cut_documents
from infformer_jax.data.lanes import train_batches

DOCUMENTS = [range(23), range(100, 102), range(200, 230), range(300, 310)]


class Grouped(StoredSplit):
  """The group of a token is the parity of its index in the document."""

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop, dtype=np.int32) % 2


@pytest.fixture
def whole() -> Split:
  return Grouped.from_tokens([list(document) for document in DOCUMENTS])


@pytest.mark.parametrize('max_tokens', [4, 7, 10, 29, 1000])
def test_pieces_are_the_documents_in_order(whole, max_tokens):
  pieces = cut_documents(whole, max_tokens)
  texts = [pieces.tokens(index) for index in range(len(pieces))]
  assert np.concatenate(texts).tolist() == [token for document in DOCUMENTS for token in document]
  assert [len(text) for text in texts] == pieces.lengths.tolist()
  assert 2 <= pieces.lengths.min() <= pieces.lengths.max() <= max_tokens
  assert len(pieces) == sum(-(-len(document) // max_tokens) for document in DOCUMENTS)


def test_parts_and_groups_of_a_piece_are_those_of_its_document(whole):
  pieces = cut_documents(whole, 8)  # 23 tokens: 7, 8, 8.
  assert pieces.tokens(1).tolist() == list(range(7, 15))
  assert pieces.tokens(1, 2, 4).tolist() == [9, 10]
  assert pieces.tokens(1, 6, 99).tolist() == [13, 14]  # None of the next piece.
  assert pieces.group(1, 0, 3).tolist() == [1, 0, 1]


def test_without_a_limit_documents_are_not_cut(whole):
  assert cut_documents(whole, None) is whole
  empty = StoredSplit.from_tokens([])
  assert cut_documents(empty, 8) is empty


def test_training_starts_every_piece_as_a_new_document(whole):
  sizes = {'num_lanes': 2, 'lanes': range(2), 'segment_length': 4, 'segments_per_chunk': 3}
  batch = next(train_batches(cut_documents(whole, 8), 999, **sizes, seed=0))
  begins = batch.tokens_bsl[..., 0] == 999
  assert (begins == batch.new_doc_bs).all()
  assert begins.sum() >= 3  # Twelve tokens of a lane span at least two pieces.
  assert (np.diff(batch.targets_bsl, axis=-1)[batch.ok_bsl[..., 1:]] == 1).all()
