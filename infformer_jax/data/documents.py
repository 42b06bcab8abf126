"""Documents: texts with names, from files or in memory."""

import dataclasses
import functools
import glob
import hashlib
import itertools
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from infformer_jax.data import tokenizers
from infformer_jax.errors import UserError

SPLITS = ('train', 'validation', 'test')
_HIDDEN = re.compile(r'(^|/)\.')


class Document(NamedTuple):
  """A text and its name, unique in its split."""

  name: str
  text: str


class Documents(Protocol):
  """The documents of one split in a fixed order, read on access: they need not fit in memory."""

  @property
  def key(self) -> str:
    """Changes whenever a text may have changed. Cheap: files use their sizes and times."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> Document:
    """Reads one document.

    Raises:
      UserError: it cannot be read; says where it is and why.
    """


class InMemoryDocuments:
  """Documents held in memory, for small corpora."""

  def __init__(self, documents: Sequence[Document]):
    self._documents = documents

  def __len__(self) -> int:
    return len(self._documents)

  def __getitem__(self, index: int) -> Document:
    return self._documents[index]

  @functools.cached_property
  def key(self) -> str:
    return hashlib.sha256(repr(self._documents).encode()).hexdigest()


class FileDocuments:
  """UTF-8 files, each a document, named by their paths relative to a folder."""

  def __init__(self, root: pathlib.Path, paths: Sequence[pathlib.Path]):
    self._root = root
    self._paths = paths

  def __len__(self) -> int:
    return len(self._paths)

  def __getitem__(self, index: int) -> Document:
    path = self._paths[index]
    return Document(path.relative_to(self._root).as_posix(), read_utf8(path))

  @functools.cached_property
  def key(self) -> str:
    return listing_key(self._root, self._paths)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedSplits:
  """A TextCollection (stored.py) whose division into splits does not depend on the tokenizer."""

  documents: Mapping[str, Documents]
  facts: dict[str, Any]

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


def listing_key(root: pathlib.Path, paths: Sequence[pathlib.Path]) -> str:
  """A hash of the folder, and of the names, sizes and times of its files; another one if a file may differ.

  Without the folder, different files of equal sizes would be the same where all times are set to one value,
  as in reproducible archives.
  """
  stats = [(path.relative_to(root).as_posix(), path.stat()) for path in paths]
  facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
  return hashlib.sha256(repr((str(root.resolve()), facts)).encode()).hexdigest()


def read_utf8(path: pathlib.Path) -> str:
  """The text of a file, line ends unchanged.

  Raises:
    UserError: the file cannot be read or is not UTF-8; names it and the offset of the first invalid byte.
  """
  try:
    content = path.read_bytes()
    return content.decode()
  except OSError as error:
    raise UserError(
      f'cannot read {path}: {error.strerror}; give a file that exists and is readable'
    ) from None
  except UnicodeDecodeError as error:
    raise UserError(
      f'{path} is not UTF-8: invalid byte 0x{content[error.start]:02x} at offset {error.start}; '
      'convert the file'
    ) from None


def find(pattern: str) -> tuple[pathlib.Path, list[pathlib.Path]]:
  """Finds the files that `data.source_dir` names; hidden ones are left out.

  Args:
    pattern: a directory, whose subdirectories are searched too, a file, or a glob.
  Returns:
    The folder to which names are relative (of a glob, the part before its first wildcard); the files, sorted.
  Raises:
    UserError: there is no such directory or file, or the directory has no files.
  """
  path = pathlib.Path(os.path.expanduser(pattern))
  if path.is_dir():
    root, found = path, list(path.rglob('*'))
  elif path.is_file():
    root, found = path.parent, [path]
  else:
    root = pathlib.Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    found = [pathlib.Path(name) for name in glob.glob(str(path), recursive=True)]
    if not found:
      what = 'matches no file' if glob.has_magic(pattern) else 'does not exist'
      raise UserError(f"data.source_dir = '{pattern}' {what}; give a directory of text files or a glob")
  files = [p for p in found if p.is_file() and not _HIDDEN.search(p.relative_to(root).as_posix())]
  if not files:
    raise UserError(f"data.source_dir = '{pattern}' has no files; put text files there")
  return root, sorted(files)
