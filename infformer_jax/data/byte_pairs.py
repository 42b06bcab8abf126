"""Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019), by the tokenizers library.

The library is imported where it is needed, so that checking a config is fast.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from infformer_jax.data.interruptible import interruptible

WORD_BYTES = 2048
"""Longer words are cut in training. The time to merge within a word is quadratic in its length: a million
letters would take more than 7 minutes, and take 2 s if they are cut."""

_PIECE = 2**14  # characters that are encoded at once by one core
_AT_ONCE = 2**23  # characters that are encoded at once; each takes 24 bytes meanwhile
# A word of GPT-2's never goes on over white space, and only its first character may be white space.
_BETWEEN_WORDS = re.compile(r'(?<=\S)(?=[ \n])')


def byte_level(model: Any) -> Any:
  """A tokenizers.Tokenizer that splits text into words as GPT-2 does; a character represents a byte.

  Args:
    model: a tokenizers.models.BPE.
  """
  from tokenizers import Tokenizer, decoders, pre_tokenizers

  library = Tokenizer(model)
  library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  library.decoder = decoders.ByteLevel()
  return library


def from_files(vocabulary: bytes, merges: bytes) -> Any:
  """A tokenizer of `byte_level`, from the contents of its two published files.

  Args:
    vocabulary: JSON of the id of every piece: encoder.json, or vocab.json.
    merges: a line about the version, then a merge per line: vocab.bpe, or merges.txt.
  Raises:
    ValueError: they are not such files, or lack a byte.
  """
  from tokenizers import models, pre_tokenizers

  try:
    ids = json.loads(vocabulary)
    lines = merges.decode().split('\n')[1:]
    pairs = [(left, right) for left, right in (line.split(' ') for line in lines if line)]
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - set(ids)
    if sorted(ids.values()) != list(range(len(ids))) or missing:
      raise ValueError('the ids must be 0, 1, 2, ... and include all 256 bytes')
    return byte_level(models.BPE(vocab=ids, merges=pairs))
  except Exception as error:  # The library raises nothing narrower.
    raise ValueError(str(error)) from None


def train(num_pieces: int, texts: Iterable[str]) -> str:
  """Trains a vocabulary. An interrupt ends it at once.

  Words of more than WORD_BYTES bytes, such as those of DNA, base64 or minified code, are learned from in
  pieces. Encoding does not cut them.

  Args:
    num_pieces: the size of the vocabulary; it is smaller if the texts do not have so many pairs.
    texts: read once, in this order.
  Returns:
    The tokenizer, as the JSON of the library.
  """
  from tokenizers import models, pre_tokenizers, trainers

  library = byte_level(models.BPE())
  words = library.pre_tokenizer
  # A byte is one character here, so that the cut counts bytes.
  library.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.FixedLength(WORD_BYTES)])
  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  trainer = trainers.BpeTrainer(vocab_size=num_pieces, initial_alphabet=alphabet, show_progress=False)
  interruptible(lambda: library.train_from_iterator(texts, trainer))
  library.pre_tokenizer = words
  return library.to_str()


def encode(library: Any, texts: Sequence[str]) -> list[np.ndarray]:
  """The ids of each text, int32, on all cores, in space that does not grow with the texts.

  Texts are cut between words, and the pieces encoded separately, which gives the same ids.

  Args:
    library: a tokenizer of `byte_level`.
    texts: of any length.
  """
  ids: list[list[np.ndarray]] = [[] for _ in texts]
  waiting: list[tuple[int, str]] = []
  characters = 0

  def encode_waiting() -> None:
    encodings = interruptible(lambda: library.encode_batch_fast([piece for _, piece in waiting]))
    for (index, _), encoding in zip(waiting, encodings, strict=True):
      ids[index].append(np.array(encoding.ids, np.int32))
    waiting.clear()

  for index, text in enumerate(texts):
    for piece in _pieces(text):
      waiting.append((index, piece))
      characters += len(piece)
      if characters >= _AT_ONCE:
        encode_waiting()
        characters = 0
  encode_waiting()
  return [np.concatenate(pieces) for pieces in ids]


def _pieces(text: str) -> Iterator[str]:
  start = 0
  while cut := _BETWEEN_WORDS.search(text, start + _PIECE):
    yield text[start : cut.start()]
    start = cut.start()
  yield text[start:]
