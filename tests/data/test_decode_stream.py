"""Incremental decoding equals decoding all ids at once."""

import pytest

from tests.data.test_tokenizers import (
  LOSSLESS,
  NASTY,
  make_bytes,
  write_sentencepiece,
)

TEXT = 'naïve Größe, 語 and \N{GRINNING FACE}. '


def streamed(tokenizer, ids, context=()):
  stream = tokenizer.decode_stream(context)
  return [*(stream.step(token) for token in ids), stream.finish()]


@pytest.mark.parametrize('make', LOSSLESS)
@pytest.mark.parametrize('context', ['', 'before ', 'é', '語'])
def test_the_pieces_concatenate_to_the_text(make, context, tmp_path):
  tokenizer = make(tmp_path)
  before = tokenizer.encode(context)
  for text in (TEXT, *NASTY):
    ids = tokenizer.encode(text)
    whole = tokenizer.decode([*before, *ids])[len(tokenizer.decode(before)) :]
    assert ''.join(streamed(tokenizer, ids, before)) == whole


@pytest.mark.parametrize('make', LOSSLESS)
def test_a_text_cut_within_a_character_ends_as_when_decoded_at_once(make, tmp_path):
  tokenizer = make(tmp_path)
  ids = tokenizer.encode(TEXT)
  for end in range(len(ids) + 1):
    assert ''.join(streamed(tokenizer, ids[:end])) == tokenizer.decode(ids[:end])


def test_a_character_is_emitted_only_when_it_is_complete(tmp_path):
  tokenizer = make_bytes(tmp_path)
  pieces = streamed(tokenizer, tokenizer.encode(TEXT), tokenizer.encode('before '))
  assert {'ï', '語', '\N{GRINNING FACE}'} <= set(pieces)


def test_invalid_bytes_are_not_held_back_indefinitely(tmp_path):
  pieces = streamed(make_bytes(tmp_path), [0xFF] * 9 + [ord('a')])
  assert [bool(piece) for piece in pieces[3:9]] == [True] * 6
  assert ''.join(pieces) == '\N{REPLACEMENT CHARACTER}' * 9 + 'a'


def test_leading_spaces_of_pieces_are_kept(tmp_path):
  tokenizer = write_sentencepiece(tmp_path / 'own.model')
  ids = tokenizer.encode('hello the world')
  assert ''.join(streamed(tokenizer, ids)) == 'hello the world'
  assert ''.join(streamed(tokenizer, tokenizer.encode('world'), tokenizer.encode('hello'))) == ' world'
