"""Documents: texts with names, from files or in memory."""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from infformer_jax.console import tracked
from infformer_jax.data import listing, record_files
from infformer_jax.data.folders import Files
from infformer_jax.data.text_files import read_utf8
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.errors import UserError

_READ_AT_ONCE = 128  # files in a bucket, which are copied in parallel


class Document(NamedTuple):
  """A text and its name, unique in its split."""

  name: str
  text: str


class Documents(Protocol):
  """The documents of one split in a fixed order, read when they are needed: they need not fit in memory."""

  @property
  def key(self) -> str:
    """Changes whenever a text may have changed. Cheap: of files, what a list of them says (folders.Files)."""

  @property
  def outline(self) -> str:
    """The same for the same documents in another place; as cheap as `key`."""

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

  @property
  def outline(self) -> str:
    return self.key


class FileDocuments:
  """UTF-8 files, each a document with its path as name, and files of records, each record a document."""

  def __init__(self, files: Files, names: Sequence[str], text_field: str = 'text'):
    """
    Args:
      files: among which they are.
      names: of the files.
      text_field: the key or column of records that is the text.
    """
    self._files, self._names, self._text_field = files, names, text_field
    self._has_records = any(map(record_files.is_records, names))

  @functools.cached_property
  def key(self) -> str:
    return f'{self._files.key(self._names)} {self._field}'

  @functools.cached_property
  def outline(self) -> str:
    return f'{self._files.outline(self._names)} {self._field}'

  @property
  def _field(self) -> str:
    return self._text_field if self._has_records else ''

  @functools.cached_property
  def _sizes(self) -> list[np.ndarray]:
    """The sizes of the records of every file. Reads all records, because a line ends anywhere."""
    folder, sizes = self._files.local(self._names), []
    for name in tracked(self._names, 'counting documents:', 'files'):
      is_records = record_files.is_records(name)
      own = record_files.sizes(folder / name) if is_records else np.array([self._files.stats[name].size])
      sizes.append(own)
    return sizes

  @functools.cached_property
  def sizes(self) -> np.ndarray | None:
    return np.concatenate(self._sizes) if self._has_records else None

  def __len__(self) -> int:
    return len(self._names) if self.sizes is None else len(self.sizes)

  def read(self, indices: Iterable[int]) -> Iterator[Document]:
    if not self._has_records:
      names = (self._names[index] for index in indices)
      while some := list(itertools.islice(names, _READ_AT_ONCE)):
        folder = self._files.local(some)
        yield from (Document(name, read_utf8(folder / name)) for name in some)
      return
    folder = self._files.local(self._names)
    ends = np.cumsum([len(sizes) for sizes in self._sizes])
    for number, group in itertools.groupby(indices, lambda index: int(np.searchsorted(ends, index, 'right'))):
      name = self._names[number]
      if record_files.is_records(name):
        first = ends[number] - len(self._sizes[number])
        own = (index - first for index in group)
        for line, text in record_files.read(folder / name, self._text_field, own):
          yield Document(f'{name}:{line}', text)
      else:
        yield from (Document(name, read_utf8(folder / name)) for _ in group)


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

  def splits(self, tokenizer: Tokenizer) -> Mapping[str, Documents]:
    del tokenizer
    return self.documents


def name_hash(name: str) -> str:
  """The hash of a document's name: sorting by it gives an order that does not depend on the content."""
  return hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()


def hash_order(count: int) -> list[int]:
  """The numbers below `count` in an order that does not depend on the content of documents."""
  return sorted(range(count), key=lambda index: name_hash(str(index)))
