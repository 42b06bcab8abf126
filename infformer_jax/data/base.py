"""What a corpus is. Read this file first.

A corpus begins as *documents*, texts that are read one by one; a *tokenizer* turns them into *splits*, whose
tokens lie in one memory-mapped file. Nothing here reads a disk: files.py and one file per corpus give the
documents, cache.py makes the splits, lanes.py streams them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from infformer_jax.data import tokenizers
from infformer_jax.errors import ConfigError, UserError, unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
  """What every corpus has; the registry adds each kind's own fields."""

  whole: ClassVar[bool] = False
  """Whether a document makes sense only as a whole: an answer needs its question."""

  kind: str
  tokenizer: str = 'bpe:4096'  # see tokenizers.py

  @staticmethod
  def kinds() -> dict[str, type['DataConfig']]:
    """The registry, for config/parsing.py: `kind` picks the dataclass."""
    from infformer_jax.data import registry

    return registry.CONFIGS

  def __post_init__(self) -> None:
    tokenizers.check(self.tokenizer)

  def check(self, segment_length: int) -> None:
    """Raises ConfigError where these data make no sense in segments of this length."""


class Document(NamedTuple):
  """A text and its name, unique in its split."""

  name: str
  text: str


class Documents(Protocol):
  """The documents of one split in a fixed order, read when asked for: they need not fit in memory."""

  @property
  def key(self) -> str:
    """Another key wherever the texts may be others. Cheap: files answer by their sizes and times."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> Document:
    """Reads one document.

    Raises:
      UserError: it cannot be read; says where it lies and why.
    """


class Source(Protocol):
  """The documents of one corpus."""

  @property
  def facts(self) -> dict[str, Any]:
    """What the results should know of where the documents come from, ready for JSON."""

  @property
  def training(self) -> Documents:
    """What a tokenizer may be trained on: nothing that is ever validation or test."""

  def splits(self, tokenizer: tokenizers.Tokenizer) -> Mapping[str, Documents]:
    """The documents by split; a corpus whose limits count tokens asks the tokenizer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
  """Documents of at least 2 tokens, however they are made.

  Attributes:
    offsets: int64 [documents + 1], where each would start if all lay one after another, and the end.
    groups: names of the groups that targets are told apart by in the evaluation.
  """

  offsets: np.ndarray
  groups: Sequence[str] = ('all',)

  def __len__(self) -> int:
    return len(self.offsets) - 1

  @property
  def lengths(self) -> np.ndarray:
    """Tokens per document, int64."""
    return np.diff(self.offsets)

  def text_sizes(self, documents: np.ndarray) -> tuple[int, int] | None:
    """Words and bytes of the text of some documents; None where there is no text."""
    del documents
    return None

  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Tokens start..stop of one document as int32, a copy."""
    raise NotImplementedError

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    """The group of each of these tokens as a target, int32; -1: it does not count, in the loss neither."""
    del index
    return np.zeros(stop - start, np.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSplit(Split):
  """Tokenized documents: one flat array and where each document starts in it."""

  ids: np.ndarray  # the tokens of all documents, one after another; often memory-mapped, any integer dtype
  words: np.ndarray  # int64 [documents], whitespace-separated words of the original text (PG-19's convention)
  bytes: np.ndarray  # int64 [documents], UTF-8 length of the original text
  names: Sequence[str]

  @classmethod
  def of(cls, documents: Sequence[Sequence[int] | np.ndarray]) -> 'StoredSplit':
    """A split in memory: a word and a byte per token."""
    lengths = np.array([len(document) for document in documents], np.int64)
    return cls(
      ids=np.concatenate(
        [np.asarray(document, np.int32) for document in documents] or [np.zeros(0, np.int32)]
      ),
      offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
      words=lengths,
      bytes=lengths,
      names=[str(index) for index in range(len(documents))],
    )

  def text_sizes(self, documents: np.ndarray) -> tuple[int, int]:
    return int(self.words[documents].sum()), int(self.bytes[documents].sum())

  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    first, end = self.offsets[index], self.offsets[index + 1]
    stop = end if stop is None else min(first + stop, end)
    return self.ids[first + start : stop].astype(np.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
  """What training and evaluation read."""

  tokenizer: tokenizers.Tokenizer
  splits: Mapping[str, Split]
  fingerprint: dict[str, Any]  # for the results: where it comes from, sizes, hashes, what was skipped
  note: str  # the same in a sentence, for people

  def split(self, name: str) -> Split:
    """One split by name.

    Raises:
      ConfigError: there is none of that name.
      UserError: it has no documents.
    """
    if name not in self.splits:
      raise ConfigError(unknown('split of the data', name, name, self.splits))
    if not len(self.splits[name]):
      raise UserError(f"the split '{name}' has no document of at least 2 tokens.")
    return self.splits[name]
