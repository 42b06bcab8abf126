"""Tokenized documents on disk: written once and atomically, then memory-mapped."""

import contextlib
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

_FORMAT = '1'  # Increase when the format of the files below changes.
_DAMAGED = (OSError, ValueError, KeyError)  # raised when a cache is opened that is missing or damaged
_BATCH_CHARACTERS = 2**20 * (os.cpu_count() or 1)  # encoded at once, so that all cores have work


def tokenized(
  documents: Documents, tokenizer: Tokenizer, cache_dir: pathlib.Path, split: str
) -> tuple[StoredSplit, dict[str, Any]]:
  """The tokens of a split, from the cache or encoded now, with a few documents in memory at a time.

  The cache is a folder whose name is a hash of everything that determines the tokens. It is written
  atomically; of several processes, one writes it, and the others wait.

  Args:
    documents: the texts.
    tokenizer: encodes them.
    cache_dir: where the folder is written; on a local disk.
    split: its name, for the folder and the progress.
  Returns:
    The split without documents of under 2 tokens, and its facts for the results.
  Raises:
    UserError: a document cannot be read, or the tokens cannot be written.
  """
  key = hashlib.sha256(' '.join((_FORMAT, tokenizer.identity, documents.key)).encode()).hexdigest()
  folder = cache_dir / f'{split}_{key[:16]}'
  with contextlib.suppress(*_DAMAGED):
    return _open(folder)
  try:
    cache_dir.mkdir(parents=True, exist_ok=True)
    with files.lock(cache_dir / 'lock', wait=True):
      with contextlib.suppress(*_DAMAGED):
        return _open(folder)  # Another process has written it meanwhile.
      files.remove_partial(folder)
      with files.write_atomically(folder) as partial:
        partial.mkdir()
        _write(partial, documents, tokenizer, split)
      return _open(folder)
  except OSError as error:
    raise UserError(
      f'cannot save the tokens in {folder}: {error.strerror or error}; use a writable --workdir'
    ) from None


def _write(folder: pathlib.Path, documents: Documents, tokenizer: Tokenizer, split: str) -> None:
  dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32)
  names: list[str] = []
  counts: dict[str, list[int]] = {'tokens': [], 'words': [], 'bytes': []}
  digest, skipped = hashlib.sha256(), 0
  with (folder / 'ids').open('wb') as file:
    for batch in _batches(documents, f'tokenizing {split}:'):
      encoded = tokenizer.encode_batch([document.text for document in batch])
      for (name, text), ids in zip(batch, encoded, strict=True):
        content = text.encode()
        digest.update(content)
        if len(ids) < 2:
          skipped += 1
          continue
        file.write(ids.astype(dtype).tobytes())
        names.append(name)
        counts['tokens'].append(len(ids))
        counts['words'].append(len(text.split()))
        counts['bytes'].append(len(content))
  facts = {
    'documents': len(names),
    **{what: sum(per_document) for what, per_document in counts.items()},
    'skipped_under_2_tokens': skipped,
    'sha256': digest.hexdigest(),
  }
  written = {'dtype': dtype.name, 'facts': facts, 'names': names, 'counts': counts}
  (folder / 'split.json').write_text(json.dumps(written))


def _open(folder: pathlib.Path) -> tuple[StoredSplit, dict[str, Any]]:
  """Opens what `_write` has written; the size shows whether it is still complete."""
  written = json.loads((folder / 'split.json').read_text())
  tokens, words, sizes = (np.array(per_document, np.int64) for per_document in written['counts'].values())
  dtype, offsets = np.dtype(written['dtype']), np.concatenate([np.zeros(1, np.int64), np.cumsum(tokens)])
  if (folder / 'ids').stat().st_size != offsets[-1] * dtype.itemsize:
    raise ValueError(f'{folder} is truncated')
  # An empty file cannot be mapped.
  ids = np.memmap(folder / 'ids', dtype, 'r') if offsets[-1] else np.zeros(0, dtype)
  split = StoredSplit(ids=ids, offsets=offsets, words=words, bytes=sizes, names=written['names'])
  return split, written['facts']


def _batches(documents: Documents, label: str) -> Iterator[list[Document]]:
  """Batches of documents of some megabytes, with progress lines."""
  batch, characters = [], 0
  for index in tracked(range(len(documents)), label, 'documents'):
    batch.append(documents[index])
    characters += len(batch[-1].text)
    if characters >= _BATCH_CHARACTERS:
      yield batch
      batch, characters = [], 0
  if batch:
    yield batch
