"""Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019), by the tokenizers library.

The library is imported where it is needed, so that checking a config is fast.
"""

from collections.abc import Iterable
from typing import Any

from infformer_jax.data.interruptible import interruptible

WORD_BYTES = 2048
"""Longer words are cut in training. The time to merge within a word is quadratic in its length: a million
letters would take more than 7 minutes, and take 2 s if they are cut."""


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
