"""Tokenized documents on disk: made once, memory-mapped, never half."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import tqdm

from infformer_jax.data.base import Document, Documents, StoredSplit
from infformer_jax.data.tokenizers import Tokenizer
from infformer_jax.errors import UserError

_FORMAT = '1'  # Count up when the files below change.
_NOT_WHOLE = (OSError, ValueError, KeyError)  # what opening a cache raises that is absent or damaged
_BATCH_CHARACTERS = 2**20 * (os.cpu_count() or 1)  # What is encoded at once, so that all cores have work.


def tokenized(
  documents: Documents, tokenizer: Tokenizer, cache_dir: pathlib.Path, split: str
) -> tuple[StoredSplit, dict[str, Any]]:
  """The tokens of a split, from the cache or made now, a few documents in memory at a time.

  The cache is a folder whose name is a hash of all that determines the tokens. It is filled under another
  name and renamed when it is complete; of several processes one makes it, and the others wait.

  Args:
    documents: the texts.
    tokenizer: what encodes them.
    cache_dir: where the folder goes; a local disk.
    split: its name, for people.
  Returns:
    The split without documents of under 2 tokens, and its facts for the results.
  Raises:
    UserError: a document cannot be read, or the tokens cannot be written.
  """
  key = hashlib.sha256(' '.join((_FORMAT, tokenizer.identity, documents.key)).encode()).hexdigest()
  folder = cache_dir / f'{split}_{key[:16]}'
  with contextlib.suppress(*_NOT_WHOLE):
    return _open(folder)
  try:
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _alone(cache_dir / 'lock'):
      with contextlib.suppress(*_NOT_WHOLE):
        return _open(folder)  # Another process has made it meanwhile.
      _make(folder, documents, tokenizer, split)
      return _open(folder)
  except OSError as error:
    raise UserError(f'cannot keep the tokens of the data in {folder}: {error.strerror or error}.') from None


def _make(folder: pathlib.Path, documents: Documents, tokenizer: Tokenizer, split: str) -> None:
  partial = folder.with_name(f'{folder.name}.partial')
  for old in partial, folder:  # Of a process that was killed; of a disk that lost something.
    shutil.rmtree(old, ignore_errors=True)
  partial.mkdir()
  _write(partial, documents, tokenizer, split)
  partial.rename(folder)


def _write(folder: pathlib.Path, documents: Documents, tokenizer: Tokenizer, split: str) -> None:
  dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32)
  names: list[str] = []
  counts: dict[str, list[int]] = {'tokens': [], 'words': [], 'bytes': []}
  digest, skipped = hashlib.sha256(), 0
  with (folder / 'ids').open('wb') as file:
    for batch in _batches(documents, f'tokenizing {split}'):
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
  """What `_make` has made; the renaming says that it was complete, the size that it still is."""
  written = json.loads((folder / 'split.json').read_text())
  tokens, words, sizes = (np.array(per_document, np.int64) for per_document in written['counts'].values())
  dtype, offsets = np.dtype(written['dtype']), np.concatenate([np.zeros(1, np.int64), np.cumsum(tokens)])
  if (folder / 'ids').stat().st_size != offsets[-1] * dtype.itemsize:
    raise ValueError(f'{folder} has been cut off.')
  # A file of no bytes cannot be mapped.
  ids = np.memmap(folder / 'ids', dtype, 'r') if offsets[-1] else np.zeros(0, dtype)
  split = StoredSplit(ids=ids, offsets=offsets, words=words, bytes=sizes, names=written['names'])
  return split, written['facts']


def _batches(documents: Documents, what: str) -> Iterator[list[Document]]:
  """Documents of some megabytes together, with a progress line once it takes longer than two seconds."""
  batch, characters = [], 0
  for index in tqdm.trange(len(documents), desc=what, unit=' documents', delay=2, mininterval=1):
    batch.append(documents[index])
    characters += len(batch[-1].text)
    if characters >= _BATCH_CHARACTERS:
      yield batch
      batch, characters = [], 0
  if batch:
    yield batch


@contextlib.contextmanager
def _alone(path: pathlib.Path) -> Iterator[None]:
  """Waits until no other process is in here; a process that dies leaves at once."""
  with path.open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
