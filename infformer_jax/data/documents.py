"""Documents: texts with names, from files or in memory."""

import dataclasses
import functools
import hashlib
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from infformer_jax.console import tracked
from infformer_jax.data import listing, record_files, tokenizers
from infformer_jax.data.text_files import read_utf8
from infformer_jax.errors import UserError


class Document(NamedTuple):
  """A text and its name, unique in its split."""

  name: str
  text: str


class Documents(Protocol):
  """The documents of one split in a fixed order, read when they are needed: they need not fit in memory."""

  @property
  def key(self) -> str:
    """Changes whenever a text may have changed. Cheap: files use their sizes and times."""

  @property
  def sizes(self) -> np.ndarray | None:
    """The approximate bytes of each document, if `read` is slow unless the indices ascend; otherwise None."""

  def __len__(self) -> int: ...

  def read(self, indices: Iterable[int]) -> Iterator[Document]:
    """Reads documents in the given order, which must ascend unless `sizes` is None.

    Raises:
      UserError: one of them cannot be read; says where it is and why.
    """


class InMemoryDocuments:
  """Documents held in memory, for small corpora."""

  sizes = None

  def __init__(self, documents: Sequence[Document]):
    self._documents = documents

  def __len__(self) -> int:
    return len(self._documents)

  def read(self, indices: Iterable[int]) -> Iterator[Document]:
    return (self._documents[index] for index in indices)

  @functools.cached_property
  def key(self) -> str:
    return hashlib.sha256(repr(self._documents).encode()).hexdigest()


class FileDocuments:
  """UTF-8 files, each a document with its path as name, and files of records, each record a document."""

  def __init__(self, root: pathlib.Path, names: Sequence[str], text_field: str = 'text'):
    """
    Args:
      root: the folder to which the names are relative.
      names: of the files.
      text_field: the key or column of records that is the text.
    """
    self._root, self._names, self._text_field = root, names, text_field
    self._has_records = any(map(record_files.is_records, names))

  @functools.cached_property
  def key(self) -> str:
    listed = listing.listing_key(self._root, self._names)
    return f'{listed} {self._text_field}' if self._has_records else listed

  @functools.cached_property
  def _sizes(self) -> list[np.ndarray]:
    """The sizes of the records of every file. Reads all records, because a line ends anywhere."""
    sizes = []
    for name in tracked(self._names, 'counting documents:', 'files'):
      path = self._root / name
      is_records = record_files.is_records(name)
      sizes.append(record_files.sizes(path) if is_records else np.array([path.stat().st_size], np.int64))
    return sizes

  @functools.cached_property
  def sizes(self) -> np.ndarray | None:
    return np.concatenate(self._sizes) if self._has_records else None

  def __len__(self) -> int:
    return len(self._names) if self.sizes is None else len(self.sizes)

  def read(self, indices: Iterable[int]) -> Iterator[Document]:
    if not self._has_records:
      yield from (
        Document(self._names[index], read_utf8(self._root / self._names[index])) for index in indices
      )
      return
    ends = np.cumsum([len(sizes) for sizes in self._sizes])
    for number, group in itertools.groupby(indices, lambda index: int(np.searchsorted(ends, index, 'right'))):
      name = self._names[number]
      if record_files.is_records(name):
        first = ends[number] - len(self._sizes[number])
        own = (index - first for index in group)
        for line, text in record_files.read(self._root / name, self._text_field, own):
          yield Document(f'{name}:{line}', text)
      else:
        yield from (Document(name, read_utf8(self._root / name)) for _ in group)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedSplits:
  """A TextCollection (stored.py) whose division into splits does not depend on the tokenizer."""

  documents: Mapping[str, Documents]
  facts: dict[str, Any]
  left_out: listing.LeftOut = dataclasses.field(default_factory=dict)

  @property
  def training(self) -> Documents:
    if 'train' not in self.documents:
      raise UserError(
        "data.tokenizer = 'bpe:N' is trained on the split 'train', and the data have only "
        f"{', '.join(self.documents)}; use a tokenizer that needs no training, such as 'bytes'"
      )
    return self.documents['train']

  def splits(self, tokenizer: tokenizers.Tokenizer) -> Mapping[str, Documents]:
    del tokenizer
    return self.documents


def name_hash(name: str) -> str:
  """The hash of a document's name: sorting by it gives an order that does not depend on the content."""
  return hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()


def hash_order(count: int) -> list[int]:
  """The numbers below `count` in an order that does not depend on the content of documents."""
  return sorted(range(count), key=lambda index: name_hash(str(index)))
