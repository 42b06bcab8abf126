"""What all tokenizers share: pieces of single ids, BOS without a text, and errors that name a file."""

import pathlib

import numpy as np
import pytest

from infformer_jax.data import tokenizers
from infformer_jax.data.tokenizer import Tokenizer, read_file
from infformer_jax.errors import UserError
from tests.data.texts import trained_on


class Words(Tokenizer):
  """Decodes an id as a word, and loses the space at the start of a text, as some libraries do."""

  def encode_batch(self, texts):
    return [np.arange(len(text.split()), dtype=np.int32) for text in texts]

  def _decode(self, ids):
    return ' '.join(f'w{i}' for i in ids)


def test_bos_is_an_id_of_its_own_or_one_of_the_vocabulary():
  own, last = Words(10, 'identity', bos_id=3), Words(10, 'identity')
  assert (own.vocab_size, own.bos_id, last.vocab_size, last.bos_id) == (10, 3, 11, 10)
  assert own.decode([3, 1, 2]) == 'w1 w2'
  assert last.decode([10, 1, 2]) == 'w1 w2'
  assert not own.lossless
  assert own.pieces([1, 2]) == ['w1', ' w2']


def test_pieces_are_the_texts_of_single_ids(tmp_path):
  text = 'hello é漢\N{GRINNING FACE} \N{REPLACEMENT CHARACTER} world'
  for spec in ('bytes', 'bpe:300'):
    tokenizer = tokenizers.from_spec(spec, tmp_path, trained_on(['hello world'] * 9))
    ids = tokenizer.encode(text)
    pieces = tokenizer.pieces(ids)
    assert len(pieces) == len(ids)
    assert ''.join(pieces) == text
    assert ''.join(tokenizer.pieces(ids[:-9])) == tokenizer.decode(ids[:-9])
    assert tokenizer.pieces([]) == []


def test_a_file_that_cannot_be_read_is_named():
  with pytest.raises(UserError, match='cannot read /no/file: No such file or directory; it is needed'):
    read_file(pathlib.Path('/no/file'), 'it is needed')
