"""Python's standard library: real, long documents that need no download."""

import dataclasses
import hashlib
import os
import pathlib
import platform
import re
import sysconfig
import tokenize
from collections.abc import Mapping
from typing import Any

from etils import epath

from infformer_jax.data import listing
from infformer_jax.data.documents import Document, Documents, InMemoryDocuments, name_hash
from infformer_jax.data.stored import StoredConfig
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.errors import UserError

_LEFT_OUT = re.compile(r'site-packages|dist-packages|_?tests?|\w+_tests?')  # names of folders
_CANDIDATES_SHARE = 12  # One file in this many may be validation; 'bpe:N' is trained on none of them.
_VALIDATION_TOKENS = 100_000
_DOCUMENT_TOKENS = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class StdlibConfig(StoredConfig):
  """The source code of Python's standard library, where `sysconfig` finds it, without tests and packages."""

  kind: str = 'stdlib'

  def open(self, workdir: epath.Path) -> 'Stdlib':
    del workdir
    return Stdlib(pathlib.Path(sysconfig.get_path('stdlib')))


class Stdlib:
  """The modules under a folder, each a document.

  Validation: the candidates are the twelfth of the files whose relative paths have the smallest hashes. In
  the order of these hashes, a candidate is taken if it has at most 20,000 tokens and keeps the total at or
  below 100,000. Train: all others. Modules that Python itself could not decode are skipped and counted.

  Raises:
    UserError: the folder has no source code.
  """

  def __init__(self, root: pathlib.Path):
    paths = _modules(root)
    texts = [(path.relative_to(root).as_posix(), read_module(path)) for path in paths]
    documents = [Document(name, text) for name, text in texts if text is not None]
    if len(documents) < _CANDIDATES_SHARE:
      raise UserError(
        f"data.kind = 'stdlib' finds no source code of the standard library in {root}; use data.kind = 'text'"
      )
    contents = [document.text.encode() for document in documents]
    self.left_out: listing.LeftOut = {}
    self.facts: dict[str, Any] = {
      'python': platform.python_version(),
      'source_files': len(documents),
      'source_bytes': sum(map(len, contents)),
      'source_sha256': hashlib.sha256(b''.join(contents)).hexdigest(),
      'skipped_files_not_decodable': len(paths) - len(documents),
    }
    order = sorted(documents, key=lambda document: name_hash(document.name))
    count = len(documents) // _CANDIDATES_SHARE
    self._candidates, self._others = order[:count], order[count:]

  @property
  def training(self) -> Documents:
    return InMemoryDocuments(self._others)

  def splits(self, tokenizer: Tokenizer) -> Mapping[str, Documents]:
    encoded = tokenizer.encode_batch([document.text for document in self._candidates])
    validation: list[Document] = []
    train, total = list(self._others), 0
    for document, length in zip(self._candidates, map(len, encoded), strict=True):
      if length <= _DOCUMENT_TOKENS and total + length <= _VALIDATION_TOKENS:
        validation.append(document)
        total += length
      else:
        train.append(document)
    return {'train': InMemoryDocuments(sorted(train)), 'validation': InMemoryDocuments(sorted(validation))}


def read_module(path: pathlib.Path) -> str | None:
  """The text of a module as Python decodes it, by its byte order mark or coding line; None if that fails."""
  try:
    with tokenize.open(path) as file:
      text = file.read()
    text.encode()  # Some codecs give characters that UTF-8 cannot encode.
  except (OSError, SyntaxError, UnicodeError, LookupError):
    return None
  return text


def _modules(root: pathlib.Path) -> list[pathlib.Path]:
  """The modules under a folder; linked folders are not entered."""

  def unreadable(error: OSError) -> None:
    raise UserError(
      f"data.kind = 'stdlib' cannot read the folder {error.filename}: {error.strerror}; make it readable"
    )

  paths = []
  for folder, folders, names in os.walk(root, onerror=unreadable):
    # os.walk does not enter the folders that are removed from its list.
    folders[:] = [name for name in folders if not _LEFT_OUT.fullmatch(name)]
    paths += [pathlib.Path(folder, name) for name in names if name.endswith('.py')]
  return sorted(paths)
