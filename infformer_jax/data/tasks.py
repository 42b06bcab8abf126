"""Synthetic tasks: documents of symbols, generated when they are read, of which only the answers count.

A document is a pure function of the split and its index, so that a stream of them has a position like any
other (lanes.py), every process and every seed of a training sees the same ones, and nothing is kept on disk.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from infformer_jax.data.base import Corpus, DataConfig, Split
from infformer_jax.data.tokenizers import Tokenizer
from infformer_jax.errors import ConfigError, UserError, unknown

SPLITS = ('train', 'validation', 'test')
_CACHED_DOCUMENTS = 512  # Those that lanes are reading just now.

Make = Callable[['Uniforms'], tuple[np.ndarray, np.ndarray]]
"""Draws one document: its tokens and the group of each as a target (Split.group), both int32 [tokens]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig(DataConfig):
  """What every task has."""

  whole: ClassVar[bool] = True
  tokenizer: Literal['symbols'] = 'symbols'  # numbers; a task needs no other
  num_train: int = 1_000_000  # different documents; an epoch
  num_evaluation: int = 512  # documents in validation, and in test

  def __post_init__(self) -> None:
    for name in ('num_train', 'num_evaluation'):
      if not 1 <= getattr(self, name) <= 10_000_000:
        raise ConfigError(f'{name} = {getattr(self, name)} is not in [1, 10,000,000]')


class Uniforms:
  """Random numbers of one document. Raw bits alone, since NumPy may change what its distributions draw."""

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
    # Nothing of the base class's probe, which is ordinary text: this vocabulary has none.
    self.bos_id, self.vocab_size, self.lossless = num_symbols, num_symbols + 1, False
    self.identity = hashlib.sha256(b'symbols %d' % num_symbols).hexdigest()

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    for word in (word for text in texts for word in text.split()):
      if not (word.isdecimal() and int(word) < self.bos_id):
        raise UserError(f"'{word}' is no symbol of this task; write numbers in 0 to {self.bos_id - 1}")
    return [np.array(text.split(), np.int32) for text in texts]

  def _decode(self, ids: list[int]) -> str:
    return ''.join(f'{token} ' for token in ids)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSplit(Split):
  """Documents of one length, made when they are read."""

  make: Callable[[int], tuple[np.ndarray, np.ndarray]]

  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    return self.make(index)[0][start:stop].copy()

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    return self.make(index)[1][start:stop].copy()


class Task:
  """A task as a corpus."""

  def __init__(self, config: TaskConfig, make: Make, *, num_symbols: int, groups: Sequence[str], length: int):
    """
    Args:
      config: of the task.
      make: draws one document.
      num_symbols: ids without BOS.
      groups: names of the groups of answers.
      length: tokens of every document.
    """
    self.tokenizer = Symbols(num_symbols)
    self._config, self._make, self._groups, self._length = config, make, tuple(groups), length

  def corpus(self, splits: Collection[str] | None = None) -> Corpus:
    """The splits wanted; None: all.

    Raises:
      ConfigError: there is none of that name.
    """
    for name in splits or ():
      if name not in SPLITS:
        raise ConfigError(unknown('split of the data', name, name, SPLITS))
    config = dataclasses.asdict(self._config)
    text = json.dumps({key: config[key] for key in config if not key.startswith('num_evaluation')})
    facts: dict[str, Any] = {
      name: {
        'documents': self._size(name),
        'tokens': self._size(name) * self._length,
        'sha256': hashlib.sha256(f'{name} {text}'.encode()).hexdigest(),
      }
      for name in SPLITS
      if splits is None or name in splits
    }
    return Corpus(
      tokenizer=self.tokenizer,
      splits={name: self._split(name) for name in facts},
      fingerprint={
        'kind': self._config.kind,
        'tokenizer': self._config.tokenizer,
        'tokenizer_sha256': self.tokenizer.identity,
        'splits': facts,
      },
      note=f'{self._config.kind}: {self._size("train"):,} documents of {self._length:,} tokens, '
      f'{self.tokenizer.vocab_size} ids, {self._size("validation"):,} to validate',
    )

  def _size(self, split: str) -> int:
    return self._config.num_train if split == 'train' else self._config.num_evaluation

  def _split(self, name: str) -> TaskSplit:
    @functools.lru_cache(maxsize=_CACHED_DOCUMENTS)
    def make(index: int) -> tuple[np.ndarray, np.ndarray]:
      tokens, group = self._make(Uniforms(SPLITS.index(name), index))
      assert tokens.shape == group.shape == (self._length,)
      return tokens, group

    offsets = np.arange(self._size(name) + 1, dtype=np.int64) * self._length
    return TaskSplit(offsets=offsets, groups=self._groups, make=make)
