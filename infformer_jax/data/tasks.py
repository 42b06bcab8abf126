"""Synthetic tasks: documents of symbols, generated when they are read; only the answers are scored.

A document is a pure function of the split and its index. So a stream of documents has a position like any
other (lanes.py), every process and every seed reads the same documents, and nothing is stored.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from infformer_jax.data.base import DataConfig, LoadSplit, Source, Split
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.errors import UserError, check_range

SPLITS = ('train', 'validation', 'test')
MOST_TOKENS = 100_000_000  # in a document, which is made in memory
_CACHED_DOCUMENTS = 512  # Enough for the documents that the lanes are reading.

Make = Callable[['Uniforms'], tuple[np.ndarray, np.ndarray]]
"""Draws one document: its tokens, and the group of each as a target (Split.group), both int32 [tokens]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig(DataConfig):
  """The keys that every task has."""

  indivisible: ClassVar[bool] = True
  tokenizer: Literal['symbols'] = 'symbols'  # ids as numbers; the only one for a task
  num_train: int = 1_000_000  # different documents in an epoch
  num_evaluation: int = 512  # documents in validation, and in test

  def __post_init__(self) -> None:
    for name in ('num_train', 'num_evaluation'):
      check_range(name, getattr(self, name), 1, 10_000_000)


class Uniforms:
  """Random numbers of one document. From raw bits, since NumPy may change what its distributions draw."""

  def __init__(self, *key: int):
    self._bits = np.random.PCG64(list(key))

  def uniform(self, *shape: int) -> np.ndarray:
    """float64 in [0, 1)."""
    return (self._bits.random_raw(int(np.prod(shape))) >> np.uint64(11)).reshape(shape) * 2.0**-53

  def integers(self, high: int | np.ndarray, *shape: int) -> np.ndarray:
    """int32 in [0, high)."""
    return np.floor(self.uniform(*shape) * high).astype(np.int32)

  def choice(self, size: int, count: int) -> np.ndarray:
    """`count` different numbers below `size`, in random order, int32."""
    return np.argsort(self.uniform(size), kind='stable')[:count].astype(np.int32)


class Symbols(Tokenizer):
  """Ids as decimal numbers between spaces; the last id is BOS."""

  def __init__(self, num_symbols: int):
    # Skips the base class's round-trip check, whose text this vocabulary cannot encode.
    self.bos_id, self.vocab_size, self.lossless = num_symbols, num_symbols + 1, False
    self.unk_id = None
    self.identity = hashlib.sha256(b'symbols %d' % num_symbols).hexdigest()

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    for word in (word for text in texts for word in text.split()):
      if not (word.isdecimal() and int(word) < self.bos_id):
        raise UserError(
          f"data.tokenizer = 'symbols' cannot encode '{word}'; use numbers from 0 to {self.bos_id - 1}"
        )
    return [np.array(text.split(), np.int32) for text in texts]

  def _decode(self, ids: list[int]) -> str:
    return ''.join(f'{token} ' for token in ids)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSplit(Split):
  """Documents of equal length, generated when they are read."""

  make: Callable[[int], tuple[np.ndarray, np.ndarray]]

  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    return self.make(index)[0][start:stop].copy()

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    return self.make(index)[1][start:stop].copy()


class Task(Source):
  """Generates the documents of a task."""

  def __init__(self, config: TaskConfig, make: Make, *, num_symbols: int, groups: Sequence[str], length: int):
    """
    Args:
      config: of the task.
      make: draws one document.
      num_symbols: ids without BOS.
      groups: names of the groups of answers.
      length: tokens of every document.
    """
    self._tokenizer = Symbols(num_symbols)
    self._config, self._make, self._groups, self._length = config, make, tuple(groups), length

  def tokenizer(self) -> Symbols:
    return self._tokenizer

  def splits(self, tokenizer: Tokenizer) -> Mapping[str, LoadSplit]:
    del tokenizer
    return {name: functools.partial(self._load, name) for name in SPLITS}

  def _load(self, name: str) -> tuple[TaskSplit, dict[str, Any]]:
    @functools.lru_cache(maxsize=_CACHED_DOCUMENTS)
    def make(index: int) -> tuple[np.ndarray, np.ndarray]:
      tokens, group = self._make(Uniforms(SPLITS.index(name), index))
      assert tokens.shape == group.shape == (self._length,)
      return tokens, group

    documents = self._config.num_train if name == 'train' else self._config.num_evaluation
    offsets = np.arange(documents + 1, dtype=np.int64) * self._length
    config = dataclasses.asdict(self._config)
    text = json.dumps({key: config[key] for key in config if not key.startswith('num_evaluation')})
    facts = {
      'documents': documents,
      'tokens': documents * self._length,
      'sha256': hashlib.sha256(f'{name} {text}'.encode()).hexdigest(),
    }
    return TaskSplit(offsets=offsets, groups=self._groups, make=make), facts
