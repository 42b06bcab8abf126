"""Tokenized documents on disk: written once and atomically, then memory-mapped.

    W/tokens/SPLIT_TOKENIZER_CONTENT/ids          the tokens of all documents, concatenated
    W/tokens/SPLIT_TOKENIZER_CONTENT/split.json   names and sizes of the documents
    W/tokens/SPLIT_TOKENIZER_CONTENT/about.json   hashes of tokenizer and texts, and where they were seen

The name of a folder is a hash of the content, so that documents which were moved or copied are not tokenized
again. To hash them is to read them; a start that reads no documents finds the folder in whose about.json is
their `Documents.key` (for files: their place, names, sizes and times).
"""

import contextlib
import glob
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from infformer_jax import files
from infformer_jax.console import tracked
from infformer_jax.data.base import StoredSplit
from infformer_jax.data.documents import Document, Documents
from infformer_jax.data.tokenizers import Tokenizer
from infformer_jax.errors import UserError

_FORMAT = '2'  # Increase when the format of the files changes.
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)  # raised for missing or damaged files
_BATCH_CHARACTERS = 2**20 * (os.cpu_count() or 1)  # encoded at once, so that all cores have work


def tokenized(
  documents: Documents, tokenizer: Tokenizer, cache_dir: pathlib.Path, split: str
) -> tuple[StoredSplit, dict[str, Any]]:
  """The tokens of a split, from the cache or encoded now, with a few documents in memory at a time.

  If the cache has other tokens of the split, the documents are read first, to see whether one of these has
  the same content. The cache is written atomically; of several processes, one writes it, and the others wait.

  Args:
    documents: the texts.
    tokenizer: encodes them.
    cache_dir: where the tokens are kept; on a local disk.
    split: its name, for the folder and the progress.
  Returns:
    The split without documents of under 2 tokens, and its facts for the results.
  Raises:
    UserError: a document cannot be read, or the tokens cannot be written.
  """
  seen = hashlib.sha256(documents.key.encode(errors='surrogateescape')).hexdigest()
  kind = f'{split}_{hashlib.sha256(f"{_FORMAT} {tokenizer.identity}".encode()).hexdigest()[:8]}'
  if known := _known(cache_dir, kind, seen):
    return known
  try:
    cache_dir.mkdir(parents=True, exist_ok=True)
    with files.lock(cache_dir / 'lock', wait=True):
      if known := _known(cache_dir, kind, seen):  # Another process has written it meanwhile.
        return known
      if _folders(cache_dir, kind) and (known := _moved(documents, cache_dir, kind, seen, split)):
        return known
      files.remove_partial(cache_dir / split)
      with files.temporary(cache_dir / split) as partial:
        partial.mkdir()
        folder = cache_dir / f'{kind}_{_write(partial, documents, tokenizer, split, seen)}'
        files.replace(partial, folder)
      return _open(folder)
  except OSError as error:
    raise UserError(
      f'cannot save the tokens in {cache_dir}: {error.strerror or error}; use a writable --workdir'
    ) from None


def about(folder: pathlib.Path) -> dict[str, Any]:
  """The split of a folder, and `tokenizer_sha256` and `sha256` as in the data's fingerprint.

  Raises:
    any of DAMAGED: the folder is damaged or of another format.
  """
  return json.loads((folder / 'about.json').read_text(encoding='utf-8'))


def _folders(cache_dir: pathlib.Path, kind: str) -> list[pathlib.Path]:
  """The folders of one split and one tokenizer."""
  return sorted(cache_dir.glob(f'{glob.escape(kind)}_*'))


def _known(cache_dir: pathlib.Path, kind: str, seen: str) -> tuple[StoredSplit, dict[str, Any]] | None:
  """The split whose content was seen under this key before, if its folder is intact."""
  for folder in _folders(cache_dir, kind):
    with contextlib.suppress(*DAMAGED):
      if seen in about(folder)['seen']:
        return _open(folder)
  return None


def _moved(
  documents: Documents, cache_dir: pathlib.Path, kind: str, seen: str, split: str
) -> tuple[StoredSplit, dict[str, Any]] | None:
  """The split that has the content of these documents, if its folder is intact; they are read."""
  content = _Content()
  for document in _all(documents, f'comparing {split} with its tokens:'):
    content.add(document.name, document.text.encode())
  folder = cache_dir / f'{kind}_{content.short}'
  try:
    found, facts = _open(folder), about(folder)
    facts = {**facts, 'seen': [*facts['seen'], seen]}
  except DAMAGED:
    return None
  files.write_json(folder / 'about.json', facts)
  return found


class _Content:
  """A hash of the names and texts of documents, in their order."""

  def __init__(self) -> None:
    self._names, self.texts = hashlib.sha256(), hashlib.sha256()

  def add(self, name: str, text: bytes) -> None:
    self._names.update(f'{len(name)} {name} {len(text)} '.encode(errors='surrogateescape'))
    self.texts.update(text)

  @property
  def short(self) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(self._names.digest() + self.texts.digest()).hexdigest()[:16]


def _write(folder: pathlib.Path, documents: Documents, tokenizer: Tokenizer, split: str, seen: str) -> str:
  """Writes the files of a folder; returns the part of its name that depends on the content."""
  dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32)
  names: list[str] = []
  counts: dict[str, list[int]] = {'tokens': [], 'words': [], 'bytes': []}
  content, skipped = _Content(), 0
  with (folder / 'ids').open('wb') as file:
    for batch in _batches(documents, f'tokenizing {split}:'):
      encoded = tokenizer.encode_batch([document.text for document in batch])
      for (name, text), ids in zip(batch, encoded, strict=True):
        utf8 = text.encode()
        content.add(name, utf8)
        if len(ids) < 2:
          skipped += 1
          continue
        file.write(ids.astype(dtype).tobytes())
        names.append(name)
        counts['tokens'].append(len(ids))
        counts['words'].append(len(text.split()))
        counts['bytes'].append(len(utf8))
  facts = {
    'documents': len(names),
    **{what: sum(per_document) for what, per_document in counts.items()},
    'skipped_under_2_tokens': skipped,
    'sha256': content.texts.hexdigest(),
  }
  written = {'dtype': dtype.name, 'facts': facts, 'names': names, 'counts': counts}
  (folder / 'split.json').write_text(json.dumps(written))
  identity = {'split': split, 'tokenizer_sha256': tokenizer.identity, 'sha256': facts['sha256']}
  files.write_json(folder / 'about.json', {**identity, 'seen': [seen]})
  return content.short


def _open(folder: pathlib.Path) -> tuple[StoredSplit, dict[str, Any]]:
  """Opens what `_write` has written; the size shows whether it is still complete."""
  written = json.loads((folder / 'split.json').read_text())
  tokens, words, sizes = (np.array(per_document, np.int64) for per_document in written['counts'].values())
  dtype, offsets = np.dtype(written['dtype']), np.concatenate([np.zeros(1, np.int64), np.cumsum(tokens)])
  if os.path.getsize(folder / 'ids') != offsets[-1] * dtype.itemsize:
    raise ValueError(f'{folder} is truncated')
  # An empty file cannot be mapped.
  ids = np.memmap(folder / 'ids', dtype, 'r') if offsets[-1] else np.zeros(0, dtype)
  split = StoredSplit(ids=ids, offsets=offsets, words=words, bytes=sizes, names=written['names'])
  return split, written['facts']


def _batches(documents: Documents, label: str) -> Iterator[list[Document]]:
  """Batches of documents of some megabytes, with progress lines."""
  batch, characters = [], 0
  for document in _all(documents, label):
    batch.append(document)
    characters += len(document.text)
    if characters >= _BATCH_CHARACTERS:
      yield batch
      batch, characters = [], 0
  if batch:
    yield batch


def _all(documents: Documents, label: str) -> Iterator[Document]:
  """All documents in their order, with progress lines."""
  indices = range(len(documents))
  pairs = zip(tracked(indices, label, 'documents'), documents.read(indices), strict=True)
  return (document for _, document in pairs)
