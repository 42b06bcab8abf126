"""PG-19 (Rae et al. 2020): books, from the layout of the public bucket or prepared by TensorFlow Datasets."""

import csv
import dataclasses
import io
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from etils import epath

from infformer_jax import paths
from infformer_jax.console import tracked
from infformer_jax.data import documents, listing, split_names, text_files, tfds
from infformer_jax.data.folders import Copies, Files, flat, open_tree
from infformer_jax.data.left_out import LeftOut, described
from infformer_jax.data.stored import StoredConfig
from infformer_jax.errors import ConfigError, UserError

VERSION = '0.1.1'  # of the catalog's dataset, whose features these are
METADATA = 'metadata.csv'
NUM_BOOKS = {'train': 28_602, 'validation': 50, 'test': 100}  # as published
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
  folders = [entry for entry in tree.entries(os.fspath(root)) if entry.is_dir()] if tree.is_dir else []
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
      if len(row) != len(_COLUMNS) or not row[0].isdecimal():
        raise UserError(
          f"{path}, row {number} must be 'ID,title,year,link', not {','.join(row)!r}; correct it"
        )
      rows[int(row[0])] = dict(zip(_COLUMNS[1:], row[1:], strict=True))
  except csv.Error as error:
    raise UserError(f'{path}, line {lines.line_num} is not CSV ({error}); correct it') from None
  return rows


def builder(source_dir: pathlib.Path, splits: Mapping[str, Sequence[str]], data_dir: pathlib.Path) -> Any:
  """A TFDS builder of the catalog's `pg19` from a local copy, without TensorFlow.

  Differs from the catalog's (tensorflow_datasets/datasets/pg19): titles with a comma are complete, and
  texts keep the white space at their ends.

  Args:
    source_dir: a folder with metadata.csv.
    splits: the files of the books in it, by split.
    data_dir: where the builder writes.
  Raises:
    UserError: metadata.csv is missing, or has no row for a book.
  """
  import numpy as np
  import tensorflow_datasets
  from tensorflow_datasets import core, features

  texts = {split: [source_dir / name for name in names] for split, names in splits.items()}
  facts = metadata(source_dir)
  for path in itertools.chain(*texts.values()):
    if not path.stem.isdecimal() or int(path.stem) not in facts:
      raise UserError(f'{source_dir / METADATA} has no row for the book {path}; add it')
  tensorflow_datasets.disable_progress_bar()  # It does not know how many books there are.

  with core.registered.skip_registration():  # The name is the catalog's.

    class Pg19(core.GeneratorBasedBuilder):
      """PG-19 from the layout of its bucket."""

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

      def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {split: self._generate_examples(split) for split in texts}

      def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for path in tracked(texts[split], f'writing {split}:', 'books'):
          book_id = int(path.stem)
          yield book_id, {'book_id': book_id, 'book_text': text_files.read_utf8(path), **facts[book_id]}

  return Pg19(data_dir=str(data_dir), file_format='array_record')
