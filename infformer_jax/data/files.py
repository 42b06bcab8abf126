"""Documents that are text files, and texts that are held in memory."""

import dataclasses
import functools
import glob
import hashlib
import itertools
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from infformer_jax.data import tokenizers
from infformer_jax.data.base import Document, Documents
from infformer_jax.errors import UserError

SPLITS = ('train', 'validation', 'test')
_HIDDEN = re.compile(r'(^|/)\.')


def rank(name: str) -> str:
  """Sort by it for an order that has nothing to do with the content: the hash of a document's name."""
  return hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()


class Texts:
  """Documents held in memory: small corpora only."""

  def __init__(self, documents: Sequence[Document]):
    self._documents = documents

  def __len__(self) -> int:
    return len(self._documents)

  def __getitem__(self, index: int) -> Document:
    return self._documents[index]

  @functools.cached_property
  def key(self) -> str:
    return hashlib.sha256(repr(self._documents).encode()).hexdigest()


class Files:
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
class Divided:
  """A source that knows which document is in which split, whatever the tokenizer."""

  documents: Mapping[str, Documents]
  facts: dict[str, Any]

  @property
  def training(self) -> Documents:
    if 'train' not in self.documents:
      raise UserError(
        "data.tokenizer 'bpe:N' is trained on the split 'train', and there is only "
        f'{", ".join(self.documents)}; name a tokenizer that needs no training.'
      )
    return self.documents['train']

  def splits(self, tokenizer: tokenizers.Tokenizer) -> Mapping[str, Documents]:
    del tokenizer
    return self.documents


def listing_key(root: pathlib.Path, paths: Sequence[pathlib.Path]) -> str:
  """Another key wherever one of the files may be another: by their names, sizes and times."""
  stats = [(path.relative_to(root).as_posix(), path.stat()) for path in paths]
  facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
  return hashlib.sha256(repr(facts).encode()).hexdigest()


def read_utf8(path: pathlib.Path) -> str:
  """The text of a file exactly as it is, line ends included.

  Raises:
    UserError: it cannot be read or is not UTF-8; names it and the offset of the first wrong byte.
  """
  try:
    content = path.read_bytes()
    return content.decode()
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}.') from None
  except UnicodeDecodeError as error:
    raise UserError(
      f'{path} is not UTF-8: wrong byte 0x{content[error.start]:02x} at byte offset {error.start}; '
      'convert it.'
    ) from None


def find(pattern: str) -> tuple[pathlib.Path, list[pathlib.Path]]:
  """The files of a directory and the folders in it, or of a glob; hidden ones are left out.

  Returns:
    The folder to which names are relative, of a glob the part before its first wildcard; the files, sorted.
  Raises:
    UserError: there is no such directory or file, or nothing in it.
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
      what = 'no file matches' if glob.has_magic(pattern) else 'there is no such directory'
      raise UserError(f"data.source_dir = '{pattern}': {what}.")
  files = [p for p in found if p.is_file() and not _HIDDEN.search(p.relative_to(root).as_posix())]
  if not files:
    raise UserError(f"data.source_dir = '{pattern}' holds no files; put text files there.")
  return root, sorted(files)
