"""PG-19 (Rae et al. 2020): books, from the layout of the public bucket or prepared by TensorFlow Datasets."""

import contextlib
import csv
import dataclasses
import io
import itertools
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from etils import epath

from infformer_jax import paths
from infformer_jax.console import tracked
from infformer_jax.data import documents, listing, split_names, text_files, tfds
from infformer_jax.data.folders import Copies, Files, flat, is_dir, open_tree
from infformer_jax.data.left_out import LeftOut, described
from infformer_jax.data.stored import StoredConfig
from infformer_jax.errors import ConfigError, UserError

VERSION = '0.1.1'  # of the catalog's dataset, whose features these are
METADATA = 'metadata.csv'
NUM_BOOKS = {'train': 28_602, 'validation': 50, 'test': 100}  # as published
_SHARD = 2**28  # bytes of text in a file of records, on average
_LAYOUT = 'not train|validation|test/ID.txt'  # why a file is not a book
_COLUMNS = ('book_id', 'book_title', 'publication_date', 'book_link')  # of metadata.csv, which has no header


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pg19Config(StoredConfig):
  """Where the books are: by default, where TFDS has prepared them, under `data_dir`."""

  paths: ClassVar[tuple[str, ...]] = ('source_dir', 'data_dir')

  kind: str = 'pg19'
  source_dir: str | None = None  # gs://deepmind-gutenberg or a copy of it: train|validation|test/ID.txt
  data_dir: str | None = None  # of TFDS; None: $TFDS_DATA_DIR or ~/tensorflow_datasets

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.source_dir is not None and self.data_dir is not None:
      raise ConfigError(
        f"source_dir = '{self.source_dir}' must be None with data_dir = '{self.data_dir}'; give one of them"
      )

  def open(self, workdir: epath.Path) -> documents.FixedSplits:
    if self.source_dir is not None:
      root, key = paths.parse(self.source_dir, 'data.source_dir'), f"data.source_dir = '{self.source_dir}'"
      found = books(root, workdir=workdir, key=key, copies=self.copies)
      splits = {split: documents.FileDocuments(found.files, names) for split, names in found.splits.items()}
      facts = {'source_dir': self.source_dir}
      return documents.FixedSplits(documents=splits, facts=facts, left_out=found.left_out)
    data_dir = self.data_dir or os.environ.get('TFDS_DATA_DIR', '~/tensorflow_datasets')
    root = paths.parse(data_dir, '$TFDS_DATA_DIR' if self.data_dir is None else 'data.data_dir')
    key = f"data.data_dir = '{data_dir}'"
    versions = _versions(root / 'pg19', key)
    if not versions:
      raise UserError(
        f'{key} has no prepared PG-19; prepare it with: python -m infformer_jax.data.prepare pg19 '
        f'--source_dir=gs://deepmind-gutenberg --data_dir={root} (or read the books themselves: '
        '--config.data.source_dir=gs://deepmind-gutenberg)'
      )
    prepared = flat(root / 'pg19' / versions[-1], key, self.copies)
    return tfds.prepared(prepared, 'book_text', 'book_id', key=key)


def _versions(root: epath.Path, key: str) -> list[str]:
  """The prepared versions of a TFDS dataset, ascending."""
  tree = open_tree(root, key)
  folders = [entry for entry in tree.entries(os.fspath(root)) if is_dir(entry)] if tree.is_dir else []
  return [
    folder.name
    for folder in folders
    if not folder.name.endswith('.partial')
    and any(entry.name == 'dataset_info.json' for entry in tree.entries(folder.path))
  ]


class Books(NamedTuple):
  """The books in the layout of the bucket."""

  files: Files
  splits: dict[str, list[str]]  # the files of each split that has any
  left_out: LeftOut  # what is not a book


def books(root: epath.Path, *, workdir: epath.Path | None, key: str, copies: Copies) -> Books:
  """Finds the books of PG-19.

  Args:
    root: the bucket or a copy of it.
    workdir: the work directory of the run, if there is one.
    key: the key or flag that names the root, and its value, for errors.
    copies: where copies of files in a bucket are kept.
  Raises:
    UserError: there are none.
  """
  found = listing.walk(root, workdir=workdir, key=key, copies=copies)
  splits: dict[str, list[str]] = {split: [] for split in split_names.SPLITS}
  others = []
  for name in found.names:
    folder, _, file = name.partition('/')
    if folder in splits and '/' not in file and file.endswith('.txt'):
      splits[folder].append(name)
    elif name != METADATA:
      others.append(name)
  left_out = {**found.left_out, **({_LAYOUT: others} if others else {})}
  if not any(splits.values()):
    raise UserError(
      f'{key} has no books; the layout of PG-19 is train/ID.txt, validation/ID.txt and test/ID.txt'
      f'{described(left_out)}; use gs://deepmind-gutenberg or a copy of it'
    )
  return Books(found.files, {split: names for split, names in splits.items() if names}, left_out)


def metadata(root: pathlib.Path) -> dict[int, dict[str, str]]:
  """What metadata.csv says about each book, by the book's number.

  Raises:
    UserError: the file is missing, or a row is not 'ID,title,year,link'.
  """
  path = root / METADATA
  rows = {}
  # Not of str.splitlines, which also splits at characters that a title may have, such as U+0085.
  lines = csv.reader(io.StringIO(text_files.read_utf8(path), newline=''))
  try:
    for number, row in enumerate(lines, 1):
      if not any(map(str.strip, row)):
        continue
      if len(row) != len(_COLUMNS) or not (row[0].isdecimal() and len(row[0]) < 10):  # An int32.
        raise UserError(
          f"{path}, row {number} must be 'ID,title,year,link', not {','.join(row)[:100]!r}; correct it"
        )
      rows[int(row[0])] = dict(zip(_COLUMNS[1:], row[1:], strict=True))
  except csv.Error as error:
    raise UserError(f'{path}, line {lines.line_num} is not CSV ({error}); correct it') from None
  return rows


def write(found: Books, folder: pathlib.Path) -> None:
  """Writes the catalog's dataset `pg19` of TFDS, one book in memory at a time.

  Differs from the catalog's (tensorflow_datasets/datasets/pg19): titles with a comma are complete, texts keep
  the white space at their ends, and books keep the order of their files. TFDS itself would need TensorFlow to
  shuffle more than 1 GB.

  Args:
    found: the books, with metadata.csv.
    folder: where the files of the dataset are written; is created.
  Raises:
    UserError: metadata.csv is missing, or has no row for a book.
    OSError: the folder cannot be written.
  """
  import numpy as np
  from tensorflow_datasets import core

  source_dir = found.files.local([METADATA])
  facts = metadata(source_dir)
  ids, all_names = set(map(str, facts)), list(itertools.chain(*found.splits.values()))
  for path in (source_dir / name for name in all_names):
    if path.stem not in ids:
      raise UserError(f'{source_dir / METADATA} has no row for the book {path}; add it')

  info = _dataset_info(folder)

  def serialized(path: pathlib.Path) -> bytes:
    book_id = int(path.stem)
    text = text_files.read_utf8(path)
    return info.features.serialize_example({'book_id': book_id, 'book_text': text, **facts[book_id]})

  found.files.local(all_names)
  folder.mkdir(parents=True, exist_ok=True)
  written = []
  for split, names in found.splits.items():
    files = [source_dir / name for name in names]
    num_shards = min(-(-sum(file.stat().st_size for file in files) // _SHARD) or 1, len(files))
    shards = np.array_split(np.arange(len(files)), num_shards)
    template = core.ShardedFileTemplate(
      dataset_name='pg19', data_dir=folder, split=split, filetype_suffix='array_record'
    )
    books_left, num_bytes = iter(tracked(files, f'writing {split}:', 'books')), 0
    for number, shard in enumerate(shards):
      place = template.sharded_filepath(shard_index=number, num_shards=len(shards))
      with _records(pathlib.Path(place)) as records:
        for file in itertools.islice(books_left, len(shard)):
          record = serialized(file)
          num_bytes += len(record)
          records.write(record)
    written.append(core.SplitInfo(split, list(map(len, shards)), num_bytes, template))
  info.set_splits(core.splits.SplitDict(written))
  info.write_to_directory(folder)


def _dataset_info(folder: pathlib.Path) -> Any:
  """What TFDS knows of the dataset before it is written to the folder."""
  import numpy as np
  from tensorflow_datasets import core, features

  with core.registered.skip_registration():  # The name is the catalog's.

    class Pg19(core.DatasetBuilder):
      """Describes the dataset."""

      name = 'pg19'
      VERSION = core.Version(VERSION)

      def _info(self) -> Any:
        kinds = {
          'book_text': features.Text(),
          'book_id': np.int32,
          'book_title': np.str_,
          'publication_date': np.str_,
          'book_link': np.str_,
        }
        homepage = 'https://github.com/deepmind/pg19'
        return core.DatasetInfo(builder=self, features=features.FeaturesDict(kinds), homepage=homepage)

      def _download_and_prepare(self, *args: Any, **settings: Any) -> None:
        raise NotImplementedError

      def _as_dataset(self, *args: Any, **settings: Any) -> None:
        raise NotImplementedError

  info: Any = Pg19(data_dir=str(folder.parent)).info
  info.set_file_format('array_record')
  return info


@contextlib.contextmanager
def _records(path: pathlib.Path) -> Iterator[Any]:
  """A writer of records, whose errors are OSErrors."""
  from array_record.python import array_record_module

  try:
    writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
    try:
      yield writer
    finally:
      writer.close()
  except RuntimeError as error:  # Such as 'write() failed: REASON; writing FILE'.
    reason = re.search(r'\w+\(\) failed: ([^;]+)', str(error))
    if reason is None:
      raise
    raise OSError(reason[1]) from error
