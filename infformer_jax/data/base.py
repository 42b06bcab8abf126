"""What a corpus is. Read this file first.

A config names its source: stored.py tokenizes documents that are stored somewhere, tasks.py generates
documents when they are read. A source has *splits*, sequences of tokenized documents, which lanes.py streams.
Nothing in this file reads a disk.
"""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from etils import epath

from infformer_jax import paths
from infformer_jax.data import tokenizers
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.errors import ConfigError, UserError, unknown

_KINDS: dict[str, type['DataConfig']] = {}
_T = TypeVar('_T', bound='DataConfig')


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(abc.ABC):
  """The keys that every kind of data has; subclasses add their own and give `kind` a default."""

  indivisible: ClassVar[bool] = False
  """Whether a document must not be cut, because an answer needs its question."""

  paths: ClassVar[tuple[str, ...]] = ()
  """The keys that say where the data are.

  They may change between a run and the one that resumes it: what counts are the facts of the splits, such as
  `sha256`.
  """

  kind: str
  tokenizer: str = 'bpe:4096'  # see tokenizers.py

  @staticmethod
  def kinds() -> Mapping[str, type['DataConfig']]:
    """The registered dataclasses, for config/parsing.py: `kind` picks one."""
    return _KINDS

  def __post_init__(self) -> None:
    tokenizers.check_spec(self.tokenizer)
    for name in self.paths:
      if (path := getattr(self, name)) is not None:
        paths.parse(path, name)

  def check(self, segment_length: int) -> None:  # noqa: B027
    """Raises ConfigError if segments of this length do not suit the data; by default, all do."""

  @abc.abstractmethod
  def source(self, workdir: epath.Path) -> 'Source':
    """Where the data come from. Reads nothing yet.

    Args:
      workdir: W, the work directory of the run: a trained tokenizer is kept there, and nothing in W is data.
    """


def register(config: type[_T]) -> type[_T]:
  """Makes a kind of data available to configs, under the default of its field `kind`.

  Can decorate a class, above `dataclasses.dataclass`.

  Raises:
    ConfigError: `kind` has no default, or another config has registered it.
  """
  kind = getattr(config, 'kind', None)
  if not isinstance(kind, str):
    raise ConfigError(f"{config.__name__}.kind has no default; give it one, such as kind: str = 'mine'")
  known = _KINDS.get(kind, config)
  # A config file that defines a kind of data creates new classes whenever it is read.
  if (known.__module__, known.__qualname__) != (config.__module__, config.__qualname__):
    raise ConfigError(f"{config.__name__}.kind = '{kind}' is the kind of {known.__name__}; use another")
  _KINDS[kind] = config
  return config


class Source(abc.ABC):
  """The splits of one corpus, stored or generated.

  Creating a source reads nothing; its methods raise UserError where data or tokenizer are missing or damaged.
  """

  @property
  def facts(self) -> dict[str, Any]:
    """What the results state about the origin of the documents, ready for JSON."""
    return {}

  @property
  def left_out(self) -> Mapping[str, Sequence[str]]:
    """Names of what lies beside the documents and is not read, such as hidden files, by the reason."""
    return {}

  @abc.abstractmethod
  def tokenizer(self) -> Tokenizer:
    """The tokenizer; one that is trained is trained once and saved in the work directory."""

  @abc.abstractmethod
  def splits(self, tokenizer: Tokenizer) -> Mapping[str, 'LoadSplit']:
    """For each split a function that loads it; a stored split is tokenized then, and its tokens are kept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split(abc.ABC):
  """Documents of at least 2 tokens.

  Attributes:
    offsets: int64 [documents + 1], where each document would start if all were concatenated, and the end.
    groups: names of the groups of targets that the evaluation reports separately.
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
    """Words and bytes of the text of some documents; None if there is no text."""
    del documents
    return None

  @abc.abstractmethod
  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Tokens start..stop of one document as int32, a copy."""

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    """The group of each of these tokens as a target, int32; -1 excludes it, from the loss as well."""
    del index
    return np.zeros(stop - start, np.int32)


LoadSplit = Callable[[], tuple[Split, dict[str, Any]]]
"""Loads a split. Returns it and its facts for the results: 'documents', 'tokens', 'sha256', ..."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSplit(Split):
  """Tokenized documents in one flat array."""

  ids: np.ndarray  # the tokens of all documents, concatenated; often memory-mapped, any integer dtype
  words: np.ndarray  # int64 [documents], whitespace-separated words of the original text (PG-19's convention)
  bytes: np.ndarray  # int64 [documents], UTF-8 length of the original text
  names: Sequence[str]

  @classmethod
  def from_tokens(cls, documents: Sequence[Sequence[int] | np.ndarray]) -> 'StoredSplit':
    """A split in memory, with one word and one byte per token."""
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


def missing_split(name: str, splits: Iterable[str]) -> ConfigError:
  """The error for a split that the data do not have."""
  problem = unknown('split of the data', name, name, splits)
  return ConfigError(f'{problem}; use another evaluation.split, or add documents for this one')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
  """What training and evaluation read."""

  tokenizer: Tokenizer
  splits: Mapping[str, Split]
  fingerprint: dict[str, Any]  # for the results: origin, sizes, hashes, what was skipped
  note: str  # a summary in one line

  def split(self, name: str) -> Split:
    """One split by name.

    Raises:
      ConfigError: there is no split of that name.
      UserError: it has no documents.
    """
    if name not in self.splits:
      raise missing_split(name, self.splits)
    if not len(self.splits[name]):
      raise UserError(
        f"the split '{name}' of the data has no document of at least 2 tokens; add longer texts, "
        'or use another evaluation.split'
      )
    return self.splits[name]
