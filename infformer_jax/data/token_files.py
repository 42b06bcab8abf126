"""The files of a tokenized split: written in batches, of which a kill loses at most two; then memory-mapped.

    ids               the tokens of all documents, concatenated
    documents.jsonl   for every batch of documents a checksum, and their names and sizes
    about.json        totals and the type of the ids, with a checksum, and where the texts were seen

The checksum of a batch covers its line, its tokens and the batches before it. It shows what a killed process
has finished, and damage.
"""

import collections
import contextlib
import hashlib
import json
import os
import pathlib
import zlib
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any

import numpy as np

from infformer_jax import files, paths
from infformer_jax.console import tracked
from infformer_jax.data.base import StoredSplit
from infformer_jax.data.documents import Document, Documents
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.data.words import count_words

# Raised for missing or damaged files.
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
# A batch has work for all cores, and its memory does not depend on their number: about 24 bytes per character
# while it is encoded.
_BATCH_CHARACTERS = min(2**20 * (os.cpu_count() or 1), 2**23)
_AHEAD = 2  # batches that are encoded while another one is written
_COUNTS = ('tokens', 'words', 'bytes')


class Content:
  """A hash of the names and texts of documents, in their order."""

  def __init__(self) -> None:
    self._names, self.texts = hashlib.sha256(), hashlib.sha256()

  def add(self, document: Document) -> None:
    text = document.text.encode()
    self._names.update(f'{len(document.name)} {document.name} {len(text)} '.encode(errors='surrogateescape'))
    self.texts.update(text)

  @property
  def short(self) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(self._names.digest() + self.texts.digest()).hexdigest()[:16]


def write(folder: pathlib.Path, documents: Documents, tokenizer: Tokenizer, split: str, seen: str) -> str:
  """Tokenizes documents on all cores, with a few of them in memory at a time.

  Args:
    folder: is created, or has what a killed process has written for the same documents and tokenizer. What it
      has finished is not tokenized again; these texts are read, for the hash.
    documents: the texts.
    tokenizer: encodes them.
    split: its name, for the lines about the progress.
    seen: see `seen_in`.
  Returns:
    `Content.short` of the documents.
  Raises:
    UserError: a document cannot be read.
    OSError: a file cannot be written.
  """
  folder.mkdir(exist_ok=True)
  dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32)
  content, count = Content(), len(documents)
  with contextlib.closing(_Writer(folder, dtype)) as writer:
    done = writer.totals['read']
    for document in tracked_documents(documents, range(done), f'reading what is tokenized of {split}:'):
      content.add(document)
    rest = tracked_documents(documents, range(done, count), f'tokenizing {split}:')
    for batch, encoded in _encoded(_batches(rest), tokenizer):
      for document in batch:
        content.add(document)
      writer.add(batch, encoded)
  facts = {
    'documents': writer.totals['names'],
    **{what: writer.totals[what] for what in _COUNTS},
    'skipped_under_2_tokens': writer.totals['read'] - writer.totals['names'],
    'sha256': content.texts.hexdigest(),
  }
  about = {'dtype': dtype.name, 'facts': facts}
  files.write_json(folder / 'about.json', about | {'checksum': _checksum(about), 'seen': [seen]})
  return content.short


def read(folder: pathlib.Path) -> tuple[StoredSplit, dict[str, Any]]:
  """Opens what `write` has written: the split and its facts for the results.

  Raises:
    any of DAMAGED: the folder is damaged or incomplete.
  """
  about = _about(folder)
  facts, dtype = about['facts'], np.dtype(about['dtype'])
  names: list[str] = []
  counts: dict[str, list[np.ndarray]] = {what: [np.zeros(0, np.int64)] for what in _COUNTS}
  for _, batch in _intact_batches(folder, dtype):
    names += batch['names']
    for what in _COUNTS:
      counts[what].append(np.array(batch[what], np.int64))
  tokens, words, sizes = (np.concatenate(counts[what]) for what in _COUNTS)
  offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(tokens)])
  size = (folder / 'ids').stat().st_size
  ends = len(names), offsets[-1], size
  intact = facts['documents'], facts['tokens'], offsets[-1] * dtype.itemsize
  if ends != intact or _checksum(about) != about['checksum']:
    raise ValueError(f'{folder} is damaged')
  # An empty file cannot be mapped.
  ids = np.memmap(folder / 'ids', dtype, 'r') if offsets[-1] else np.zeros(0, dtype)
  return StoredSplit(ids=ids, offsets=offsets, words=words, bytes=sizes, names=names), facts


def seen_in(folder: pathlib.Path) -> list[str]:
  """Hashes of the places, times and sizes of texts that were read and found to have this content.

  Raises:
    any of DAMAGED: the folder is damaged or incomplete.
  """
  return _about(folder)['seen']


def add_seen(folder: pathlib.Path, seen: str) -> None:
  """Adds a hash to `seen_in`."""
  about = _about(folder)
  files.write_json(folder / 'about.json', about | {'seen': [*about['seen'], seen]})


def tracked_documents(documents: Documents, indices: range, label: str) -> Iterator[Document]:
  """Some of the documents, with progress lines."""
  pairs = zip(tracked(indices, label, 'documents'), documents.read(indices), strict=True)
  return (document for _, document in pairs)


def _checksum(about: dict[str, Any]) -> int:
  return zlib.crc32(json.dumps([about['dtype'], about['facts']]).encode())


def _about(folder: pathlib.Path) -> dict[str, Any]:
  about = json.loads(paths.read_bytes(folder / 'about.json'))
  seen = about['seen']  # The checksum does not cover it.
  if not (isinstance(seen, list) and all(isinstance(each, str) for each in seen)):
    raise ValueError(f'{folder} is damaged')
  return about


class _Writer:
  """Appends batches to the files of a folder, after those that are intact."""

  def __init__(self, folder: pathlib.Path, dtype: np.dtype):
    self._dtype, self._checksum = dtype, 0
    self.totals: collections.Counter[str] = collections.Counter()  # so far; 'read' includes what is skipped
    self._files = [open(folder / name, 'ab') for name in ('ids', 'documents.jsonl')]  # noqa: SIM115
    ends = [0, 0]
    for line, batch in _intact_batches(folder, dtype):
      self._checksum = int(line[:8], 16)
      ends = [ends[0] + sum(batch['tokens']) * dtype.itemsize, ends[1] + len(line)]
      self._count(batch)
    for file, end in zip(self._files, ends, strict=True):
      file.truncate(end)

  def add(self, documents: list[Document], encoded: list[np.ndarray]) -> None:
    kept = [(document, ids) for document, ids in zip(documents, encoded, strict=True) if len(ids) >= 2]
    batch = {
      'read': len(documents),
      'names': [document.name for document, _ in kept],
      'tokens': [len(ids) for _, ids in kept],
      'words': [count_words(document.text) for document, _ in kept],
      'bytes': [len(document.text.encode()) for document, _ in kept],
    }
    block, text = b''.join(ids.astype(self._dtype).tobytes() for _, ids in kept), json.dumps(batch).encode()
    self._checksum = zlib.crc32(text, zlib.crc32(block, self._checksum))
    for file, new in zip(self._files, (block, b'%08x %b\n' % (self._checksum, text)), strict=True):
      file.write(new)
      file.flush()
    self._count(batch)

  def close(self) -> None:
    """Returns when everything is on the disk, even if the machine fails now."""
    for file in self._files:
      os.fsync(file.fileno())
      file.close()

  def _count(self, batch: dict[str, Any]) -> None:
    self.totals.update(read=batch['read'], names=len(batch['names']))
    self.totals.update({what: sum(batch[what]) for what in _COUNTS})


def _intact_batches(folder: pathlib.Path, dtype: np.dtype) -> Iterator[tuple[bytes, dict[str, Any]]]:
  """The lines of documents.jsonl, with their content, up to the first one that is not complete."""
  checksum = 0
  for name in ('ids', 'documents.jsonl'):
    paths.require_regular(folder / name)
  with open(folder / 'ids', 'rb') as ids, open(folder / 'documents.jsonl', 'rb') as lines:
    for line in lines:
      try:
        batch = json.loads(line[9:])
        block = ids.read(sum(batch['tokens']) * dtype.itemsize)
        checksum = zlib.crc32(line[9:-1], zlib.crc32(block, checksum))
        if line != b'%08x %b\n' % (checksum, line[9:-1]):
          return
      except DAMAGED:
        return
      yield line, batch


def _encoded(
  batches: Iterable[list[Document]], tokenizer: Tokenizer
) -> Iterator[tuple[list[Document], list[np.ndarray]]]:
  """The batches with their tokens; the next ones are encoded meanwhile."""
  pool = futures.ThreadPoolExecutor(_AHEAD)
  waiting: collections.deque[tuple[list[Document], futures.Future[list[np.ndarray]]]] = collections.deque()
  try:
    for batch in batches:
      texts = [document.text for document in batch]
      waiting.append((batch, pool.submit(tokenizer.encode_batch, texts)))
      if len(waiting) > _AHEAD:
        done, encoding = waiting.popleft()
        yield done, encoding.result()
    for done, encoding in waiting:
      yield done, encoding.result()
  finally:  # After an interrupt, what has not begun is not begun.
    pool.shutdown(cancel_futures=True)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
  """Batches of about _BATCH_CHARACTERS."""
  batch, characters = [], 0
  for document in documents:
    batch.append(document)
    characters += len(document.text)
    if characters >= _BATCH_CHARACTERS:
      yield batch
      batch, characters = [], 0
  if batch:
    yield batch
