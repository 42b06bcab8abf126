"""PG-19 (Rae et al. 2020): books, from the layout of the public bucket or prepared by TensorFlow Datasets."""

import csv
import dataclasses
import io
import itertools
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

from infformer_jax.console import tracked
from infformer_jax.data import documents, listing, split_names, text_files, tfds
from infformer_jax.data.left_out import described
from infformer_jax.data.stored import StoredConfig
from infformer_jax.errors import ConfigError, UserError, check_local

VERSION = '0.1.1'  # of the catalog's dataset, whose features these are
_METADATA = 'metadata.csv'
_LAYOUT = 'not train|validation|test/ID.txt'  # why a file is not a book
_COLUMNS = ('book_id', 'book_title', 'publication_date', 'book_link')  # of metadata.csv, which has no header


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pg19Config(StoredConfig):
  """Where the books are: by default, where TFDS has prepared them, under `data_dir`."""

  paths: ClassVar[tuple[str, ...]] = ('source_dir', 'data_dir')

  kind: str = 'pg19'
  source_dir: str | None = None  # a copy of gs://deepmind-gutenberg: train|validation|test/ID.txt
  data_dir: str | None = None  # of TFDS; None: $TFDS_DATA_DIR or ~/tensorflow_datasets

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.source_dir is not None and self.data_dir is not None:
      raise ConfigError(
        f"source_dir = '{self.source_dir}' must be None with data_dir = '{self.data_dir}'; give one of them"
      )

  def open(self, workdir: pathlib.Path) -> documents.FixedSplits:
    if self.source_dir is not None:
      root = pathlib.Path(self.source_dir).expanduser()
      found, left_out = books(root, workdir=workdir, key=f"data.source_dir = '{self.source_dir}'")
      splits = {split: documents.FileDocuments(root, names) for split, names in found.items()}
      facts = {'source_dir': self.source_dir}
      return documents.FixedSplits(documents=splits, facts=facts, left_out=left_out)
    data_dir = self.data_dir or os.environ.get('TFDS_DATA_DIR', '~/tensorflow_datasets')
    check_local('$TFDS_DATA_DIR', data_dir)
    root = pathlib.Path(data_dir).expanduser()
    versions = sorted(path.parent for path in (root / 'pg19').glob('*/dataset_info.json'))
    versions = [version for version in versions if version.suffix != '.partial']
    if not versions:
      raise UserError(
        f"data.data_dir = '{data_dir}' has no prepared PG-19; from a copy of gs://deepmind-gutenberg, "
        f'prepare it with: python -m infformer_jax.data.prepare pg19 --source_dir=COPY --data_dir={root} '
        '(or read the copy itself: --config.data.source_dir=COPY)'
      )
    return tfds.prepared(versions[-1], 'book_text', 'book_id', key=f"data.data_dir = '{data_dir}'")


def books(
  root: pathlib.Path, *, workdir: pathlib.Path | None, key: str
) -> tuple[dict[str, list[str]], listing.LeftOut]:
  """The books of each split in the layout of the bucket, as paths relative to it, and what is not a book.

  Args:
    root: the copy of the bucket.
    workdir: the work directory of the run, if there is one.
    key: the key or flag that names the copy, and its value, for errors.
  Raises:
    UserError: there are none.
  """
  if not root.is_dir():
    raise UserError(f'{key} does not exist; give a copy of gs://deepmind-gutenberg')
  found = listing.walk(root, workdir=workdir, key=key)
  splits: dict[str, list[str]] = {split: [] for split in split_names.SPLITS}
  others = []
  for name in found.names:
    folder, _, file = name.partition('/')
    if folder in splits and '/' not in file and file.endswith('.txt'):
      splits[folder].append(name)
    elif name != _METADATA:
      others.append(name)
  left_out = {**found.left_out, **({_LAYOUT: others} if others else {})}
  if not any(splits.values()):
    raise UserError(
      f'{key} has no books; the layout of PG-19 is train/ID.txt, validation/ID.txt and test/ID.txt'
      f'{described(left_out)}'
    )
  return {split: names for split, names in splits.items() if names}, left_out


def metadata(root: pathlib.Path) -> dict[int, dict[str, str]]:
  """What metadata.csv says about each book, by the book's number.

  Raises:
    UserError: the file is missing, or a row is not 'ID,title,year,link'.
  """
  path = root / _METADATA
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


def builder(source_dir: pathlib.Path, data_dir: pathlib.Path) -> Any:
  """A TFDS builder of the catalog's `pg19` from a local copy, without TensorFlow.

  Differs from the catalog's (tensorflow_datasets/datasets/pg19): titles with a comma are complete, and
  texts keep the white space at their ends.

  Raises:
    UserError: the books or their metadata are missing.
  """
  import numpy as np
  import tensorflow_datasets
  from tensorflow_datasets import core, features

  splits, left_out = books(source_dir, workdir=None, key=f'--source_dir = {source_dir}')
  paths = {split: [source_dir / name for name in names] for split, names in splits.items()}
  facts = metadata(source_dir)
  for path in itertools.chain(*paths.values()):
    if not path.stem.isdecimal() or int(path.stem) not in facts:
      raise UserError(f'{source_dir / _METADATA} has no row for the book {path}; add it')
  if left_out:
    print(f'{source_dir}{described(left_out)}', file=sys.stderr)
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
        return {split: self._generate_examples(split) for split in paths}

      def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for path in tracked(paths[split], f'writing {split}:', 'books'):
          book_id = int(path.stem)
          yield book_id, {'book_id': book_id, 'book_text': text_files.read_utf8(path), **facts[book_id]}

  return Pg19(data_dir=str(data_dir), file_format='array_record')
