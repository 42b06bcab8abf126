"""Corpora of stored documents: tokenized once, then read from a cache on a local disk."""

import abc
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from etils import epath

from infformer_jax import paths
from infformer_jax.console import tracked
from infformer_jax.data import listing, token_cache, tokenizer_cache, tokenizers
from infformer_jax.data.base import DataConfig, LoadSplit, Source
from infformer_jax.data.documents import Documents, hash_order
from infformer_jax.data.folders import Copies
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.errors import ConfigError

_TRAINING_CHARACTERS = 2**28  # The most that 'bpe:N' is trained on; more text takes time and changes little.


class TextCollection(Protocol):
  """The documents of one corpus."""

  @property
  def facts(self) -> dict[str, Any]:
    """What the results state about the origin of the documents, ready for JSON."""

  @property
  def left_out(self) -> listing.LeftOut:
    """What lies beside the documents and is not read."""

  @property
  def training(self) -> Documents:
    """What a tokenizer may be trained on: no document that is ever validation or test.

    Raises:
      UserError: there is no such document.
    """

  def splits(self, tokenizer: Tokenizer) -> Mapping[str, Documents]:
    """The documents by split; a corpus whose limits count tokens asks the tokenizer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredConfig(DataConfig):
  """The config of a corpus of stored documents."""

  cache_dir: str | None = None  # for tokens, on a local disk; None: $XDG_CACHE_HOME or ~/.cache

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.cache_dir is not None and not paths.is_local(paths.parse(self.cache_dir, 'cache_dir')):
      raise ConfigError(f"cache_dir = '{self.cache_dir}' must be a local path: tokens are mapped into memory")

  @property
  def cache(self) -> pathlib.Path:
    """The directory of the cache."""
    if self.cache_dir is None:
      return paths.user_cache()
    return pathlib.Path(paths.parse(self.cache_dir, 'cache_dir'))

  @property
  def copies(self) -> Copies:
    return Copies(self.cache / 'copies', 'data.cache_dir')

  def source(self, workdir: epath.Path) -> Source:
    return StoredSource(self.tokenizer, lambda: self.open(workdir), workdir, self.cache)

  @abc.abstractmethod
  def open(self, workdir: epath.Path) -> TextCollection:
    """Finds the documents.

    Args:
      workdir: the work directory of the run, which may be inside the data and is no part of them.
    Raises:
      UserError: they are missing; says what to do.
    """


class StoredSource(Source):
  """Tokenizes documents, or finds their tokens in the cache; finds the documents when they are needed."""

  def __init__(
    self, spec: str, open_texts: Callable[[], TextCollection], workdir: epath.Path, cache_dir: pathlib.Path
  ):
    """
    Args:
      spec: names the tokenizer, see tokenizers.py.
      open_texts: finds the documents.
      workdir: where a trained tokenizer is kept.
      cache_dir: the directory of the cache.
    """
    self._spec, self._open, self._workdir, self._cache_dir = spec, open_texts, workdir, cache_dir

  @functools.cached_property
  def _texts(self) -> TextCollection:
    return self._open()

  @property
  def facts(self) -> dict[str, Any]:
    return self._texts.facts

  @property
  def left_out(self) -> listing.LeftOut:
    return self._texts.left_out

  def tokenizer(self) -> Tokenizer:
    return tokenizers.from_spec(self._spec, self._workdir, self._trained)

  def _trained(self, num_ids: int) -> str:
    documents = self._texts.training
    return tokenizer_cache.trained(num_ids, documents.key, lambda: _sample(documents), self._cache_dir)

  def splits(self, tokenizer: Tokenizer) -> Mapping[str, LoadSplit]:
    return {
      name: functools.partial(token_cache.tokenized, documents, tokenizer, self._cache_dir, name)
      for name, documents in self._texts.splits(tokenizer).items()
    }


def _sample(documents: Documents) -> Iterator[str]:
  """Texts of up to _TRAINING_CHARACTERS, chosen in an order that does not depend on their content."""
  order = hash_order(len(documents))
  if documents.sizes is not None:  # They must be read in their own order, so they are chosen by their sizes.
    before = np.cumsum(documents.sizes[order]) - documents.sizes[order]
    order = sorted(order[: np.searchsorted(before, _TRAINING_CHARACTERS)])
  characters = 0
  tracked_order = tracked(order, 'training the tokenizer:', 'documents')
  for _, document in zip(tracked_order, documents.read(order), strict=True):
    if characters >= _TRAINING_CHARACTERS:
      return
    characters += len(document.text)
    yield document.text
