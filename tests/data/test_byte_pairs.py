"""Training of byte-level BPE on words that are not those of a language."""

import random
import time

import pytest

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
