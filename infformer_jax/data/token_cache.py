"""Tokenized documents in the cache directory, keyed by their content and the tokenizer.

    tokens/SPLIT_TOKENIZER_OUTLINE_CONTENT/    the files of token_files.py

CONTENT is a hash of the texts. To compute it is to read them; a start that reads no documents finds the
folder in whose about.json is their `Documents.key` (of files: their place, names, sizes and times; of those
in a bucket: their names, sizes and checksums). If only OUTLINE is known, a hash of names and sizes, the
documents may have been moved or copied: they are read, and not tokenized again if their content is known.
"""

import contextlib
import hashlib
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from infformer_jax import files
from infformer_jax.data import cache, token_files
from infformer_jax.data.base import StoredSplit
from infformer_jax.data.documents import Documents
from infformer_jax.data.tokenizer import Tokenizer

_FORMAT = '4'  # Increase when the format of the files changes.
_Known = tuple[StoredSplit, dict[str, Any]]


def tokenized(documents: Documents, tokenizer: Tokenizer, cache_dir: pathlib.Path, split: str) -> _Known:
  """The tokens of a split, from the cache or encoded now.

  A folder of the cache appears when it is complete; one that is damaged is written again.

  Args:
    documents: the texts.
    tokenizer: encodes them.
    cache_dir: the directory of the cache.
    split: its name, for the folder and the progress.
  Returns:
    The split without documents of under 2 tokens, and its facts for the results.
  Raises:
    UserError: a document cannot be read, or the cache cannot be written.
  """
  seen = _hash(documents.key)
  kind = f'{split}_{_hash(f"{_FORMAT} {tokenizer.identity}")[:8]}_{_hash(documents.outline)[:8]}'
  if known := _known(cache_dir / 'tokens', kind, seen):
    return known
  with cache.locked(cache_dir, 'tokens', kind) as parent:
    if known := _known(parent, kind, seen):  # Another process has written it meanwhile.
      return known
    if known := _moved(documents, parent, kind, seen, split):
      return known
    partial = parent / f'{kind}_{seen[:8]}.partial'
    for other in set(parent.glob(f'{kind}_*.partial')) - {partial}:
      files.remove(other)
    content = token_files.write(partial, documents, tokenizer, split, seen)
    folder = parent / f'{kind}_{content}'
    files.replace(partial, folder)
    return token_files.read(folder)


def _folders(parent: pathlib.Path, kind: str) -> Iterator[pathlib.Path]:
  """The folders of one split, one tokenizer and one outline."""
  return parent.glob(f'{kind}_{"[0-9a-f]" * 16}')


def _known(parent: pathlib.Path, kind: str, seen: str) -> _Known | None:
  """The split whose content was seen under this key before, if its folder is intact."""
  for folder in _folders(parent, kind):
    with contextlib.suppress(*token_files.DAMAGED):
      if seen in token_files.seen_in(folder):
        return token_files.read(folder)
  return None


def _moved(documents: Documents, parent: pathlib.Path, kind: str, seen: str, split: str) -> _Known | None:
  """The split that has the content of these documents, which are read. Removes folders that are damaged."""
  intact = {}
  for folder in _folders(parent, kind):
    try:
      intact[folder.name] = token_files.read(folder)
    except token_files.DAMAGED:
      print(f'warning: {folder} is damaged and is not used', file=sys.stderr)
      files.remove(folder)
  if not intact:
    return None
  content = token_files.Content()
  indices, label = range(len(documents)), f'comparing {split} with its tokens:'
  for document in token_files.tracked_documents(documents, indices, label):
    content.add(document)
  name = f'{kind}_{content.short}'
  if name in intact:
    with contextlib.suppress(OSError):  # If it cannot be written, the next start reads them again.
      token_files.add_seen(parent / name, seen)
  return intact.get(name)


def _hash(text: str) -> str:
  return hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()
