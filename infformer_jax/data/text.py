"""Text files: a directory, a file or a glob."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from etils import epath

from infformer_jax.data import documents, listing, record_files, split_names
from infformer_jax.data.documents import Document, Documents, FileDocuments
from infformer_jax.data.stored import StoredConfig
from infformer_jax.errors import UserError

_VALIDATION_SHARE = 20  # Without named splits, one document in this many is validation, and at least one.


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig(StoredConfig):
  """UTF-8 files, each a document, and files of records (JSON lines, Parquet), each record a document.

  The names of folders or files determine the splits (split_names.py). If they state none, the files are
  ordered by the hash of their path relative to the directory (of a glob: to the part before its first
  wildcard); the first twentieth is 'validation', and the rest is 'train'. If all are files of records, the
  records are divided in this way, by the hash of their number. docs/data.md has the rules in a table.
  """

  paths: ClassVar[tuple[str, ...]] = ('source_dir',)

  kind: str = 'text'
  source_dir: str  # a directory, a file, or a glob such as 'books/**/*.txt'
  text_field: str = 'text'  # the key of JSON lines, or the column of Parquet, that is the text

  def open(self, workdir: epath.Path) -> documents.FixedSplits:
    found = listing.find(self.source_dir, workdir, self.copies)
    key = f"data.source_dir = '{self.source_dir}'"
    left_out, division = dict(found.left_out), split_names.divided(found.names, again=found.again, key=key)
    if division is not None:
      own = self._documents(found, division.splits)
      if division.outside:
        left_out[f'outside the folders of {", ".join(own)}'] = division.outside
    elif all(map(record_files.is_records, found.names)):
      records = FileDocuments(found.files, found.names, self.text_field)
      own = {'train': _Share(records, key, is_train=True), 'validation': _Share(records, key, is_train=False)}
    else:
      own = self._documents(found, self._by_hash(found.names, key))
    return documents.FixedSplits(documents=own, facts={'source_dir': self.source_dir}, left_out=left_out)

  def _documents(self, found: listing.Listing, splits: Mapping[str, list[str]]) -> dict[str, Documents]:
    return {split: FileDocuments(found.files, names, self.text_field) for split, names in splits.items()}

  def _by_hash(self, names: Sequence[str], key: str) -> dict[str, list[str]]:
    if len(names) < 2:
      raise UserError(
        f'{key} has a single file, which cannot serve for both training and '
        'validation; add files, or divide it into train.txt and validation.txt'
      )
    order = sorted(names, key=documents.name_hash)
    count = _validation_count(len(names))
    train, validation = set(order[count:]), set(order[:count])
    return {
      'train': [name for name in names if name in train],
      'validation': [name for name in names if name in validation],
    }


class _Share:
  """The documents of one split of records that are divided by hash; they are counted when they are needed."""

  def __init__(self, records: FileDocuments, key: str, *, is_train: bool):
    self._records, self._source, self._is_train = records, key, is_train

  @property
  def key(self) -> str:
    return f'{self._records.key} {"train" if self._is_train else "validation"}'

  @property
  def outline(self) -> str:
    return f'{self._records.outline} {"train" if self._is_train else "validation"}'

  @functools.cached_property
  def _indices(self) -> list[int]:
    total = len(self._records)
    if total < 2:
      raise UserError(
        f'{self._source} has {total} of the 2 documents that training and validation need at least; '
        'add documents, or divide it into train.jsonl and validation.jsonl'
      )
    order, count = documents.hash_order(total), _validation_count(total)
    return sorted(order[count:] if self._is_train else order[:count])

  @functools.cached_property
  def sizes(self) -> np.ndarray | None:
    sizes = self._records.sizes
    return sizes if sizes is None else sizes[self._indices]

  def __len__(self) -> int:
    return len(self._indices)

  def read(self, indices: Iterable[int]) -> Iterator[Document]:
    return self._records.read(self._indices[index] for index in indices)


def _validation_count(total: int) -> int:
  return max(1, total // _VALIDATION_SHARE)
