"""Training of byte-level BPE on words that are not those of a language."""

import random
import time

import pytest
import tokenizers

from infformer_jax.data import byte_pairs
from infformer_jax.errors import UserError

TEXT = 'the quick brown fox jumps over the lazy dog\n' * 20


def letters(count, alphabet='ACGT'):
  return ''.join(random.Random(0).choices(alphabet, k=count))


def test_the_time_of_training_is_linear_in_the_length_of_a_word():
  def seconds(count):
    start = time.process_time()
    byte_pairs.train(1023, [TEXT, letters(count)])
    return time.process_time() - start

  # 16 times as long if the word is not cut.
  assert seconds(400_000) < 8 * seconds(100_000)


def test_a_long_word_is_learned_from_in_pieces():
  size = byte_pairs.WORD_BYTES
  word = letters(2 * size + 9)
  pieces = [word[:size], word[size : 2 * size], word[2 * size :]]
  assert byte_pairs.train(400, [TEXT, word]) == byte_pairs.train(400, [TEXT, *pieces])
  assert byte_pairs.train(400, [TEXT, word]) != byte_pairs.train(400, [TEXT, word[size // 2 :]])


def test_the_limit_counts_bytes():
  size = byte_pairs.WORD_BYTES
  assert byte_pairs.train(300, ['é' * size]) == byte_pairs.train(300, ['é' * (size // 2)] * 2)


def test_an_error_of_the_texts_is_raised():
  def texts():
    yield TEXT
    raise UserError('book.txt is not UTF-8')

  with pytest.raises(UserError, match='book'):
    byte_pairs.train(300, texts())


PARTS = (
  'a',
  'Bc',
  "'s",
  "'re",
  'don',
  "'",
  '9',
  '½',
  '_',
  '-',
  ' ',
  '  ',
  '\n',
  '\n\n',
  '\t',
  '\r\n',
  '\x1c',
  '\x85',
)
PARTS += ('\xa0', '\u2028', '\u3000', 'é', 'e\u0301', '漢', '\U0001f600', '\u200d', '\x00', 'x' * 40)


@pytest.mark.parametrize('size', [1, 2, 7, 100])
def test_texts_that_are_encoded_in_pieces_have_the_same_ids(size, monkeypatch):
  library = tokenizers.Tokenizer.from_str(byte_pairs.train(400, [TEXT, "don't, they're  two\n\n cats "]))
  texts = ['', *(''.join(random.Random(seed).choices(PARTS, k=seed)) for seed in range(0, 400, 7))]
  whole = [encoding.ids for encoding in library.encode_batch_fast(texts)]
  monkeypatch.setattr(byte_pairs, '_PIECE', size)
  monkeypatch.setattr(byte_pairs, '_AT_ONCE', 10 * size)
  assert [ids.tolist() for ids in byte_pairs.encode(library, texts)] == whole


def test_a_long_text_is_encoded_in_parts_of_bounded_size(monkeypatch):
  sizes = []

  class Library:
    def encode_batch_fast(self, pieces):
      sizes.append([len(piece) for piece in pieces])
      return [tokenizers.Encoding()] * len(pieces)

  monkeypatch.setattr(byte_pairs, '_PIECE', 100)
  monkeypatch.setattr(byte_pairs, '_AT_ONCE', 1000)
  byte_pairs.encode(Library(), ['word ' * 1000])
  assert max(map(sum, sizes)) <= 1000 + 105
  assert min(map(len, sizes[:-1])) >= 9, 'all cores have work'
