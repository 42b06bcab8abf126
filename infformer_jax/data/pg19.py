"""PG-19 (Rae et al. 2020): books, from the layout of the public bucket or prepared by TensorFlow Datasets."""

import csv
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from infformer_jax.data import files, tfds
from infformer_jax.data.base import DataConfig
from infformer_jax.errors import ConfigError, UserError

VERSION = '0.1.1'  # of the catalog's dataset, whose features these are
_COLUMNS = ('book_id', 'book_title', 'publication_date', 'book_link')  # of metadata.csv, which has no header


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pg19Config(DataConfig):
  """Where the books are: by default what TFDS has prepared under `data_dir`."""

  kind: str = 'pg19'
  source_dir: str | None = None  # a copy of gs://deepmind-gutenberg: train|validation|test/ID.txt
  data_dir: str | None = None  # of TFDS; None: $TFDS_DATA_DIR or ~/tensorflow_datasets

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.source_dir is not None and self.data_dir is not None:
      raise ConfigError(
        f"source_dir = '{self.source_dir}' and data_dir = '{self.data_dir}': give one of them"
      )


def source(config: Pg19Config) -> files.Divided:
  """Finds the books.

  Raises:
    UserError: there are none; says how to get them.
  """
  if config.source_dir is not None:
    root = pathlib.Path(config.source_dir).expanduser()
    found = {split: files.Files(root, paths) for split, paths in books(root).items()}
    return files.Divided(documents=found, facts={'source_dir': config.source_dir})
  default = os.environ.get('TFDS_DATA_DIR', '~/tensorflow_datasets')
  data_dir = pathlib.Path(config.data_dir or default).expanduser()
  versions = sorted((data_dir / 'pg19').glob('*/dataset_info.json'))
  if not versions:
    raise UserError(
      f'there is no prepared PG-19 in {data_dir}. From a copy of gs://deepmind-gutenberg, make it by: '
      f'python -m infformer_jax.data.prepare pg19 --source_dir=COPY --data_dir={data_dir} '
      '(or read the copy itself: --config.data.source_dir=COPY).'
    )
  return tfds.prepared(versions[-1].parent, 'book_text', 'book_id')


def books(root: pathlib.Path) -> dict[str, list[pathlib.Path]]:
  """The files of each split in the layout of the bucket.

  Raises:
    UserError: they are not there.
  """
  found = {split: sorted((root / split).glob('*.txt')) for split in files.SPLITS}
  if not any(found.values()):
    raise UserError(
      f'{root} has no books; in the layout of PG-19 they are train/ID.txt, validation/ID.txt and test/ID.txt.'
    )
  return {split: paths for split, paths in found.items() if paths}


def metadata(root: pathlib.Path) -> dict[int, dict[str, str]]:
  """What metadata.csv says of each book, by its number.

  Raises:
    UserError: it is missing, or a row is not 'ID,title,year,link'.
  """
  path = root / 'metadata.csv'
  rows = {}
  for number, row in enumerate(csv.reader(files.read_utf8(path).splitlines(keepends=True)), start=1):
    if len(row) != len(_COLUMNS) or not row[0].isdecimal():
      raise UserError(f"{path}, row {number}: expected 'ID,title,year,link' and found '{','.join(row)}'.")
    rows[int(row[0])] = dict(zip(_COLUMNS[1:], row[1:], strict=True))
  return rows


def builder(source_dir: pathlib.Path, data_dir: pathlib.Path) -> Any:
  """A TFDS builder of the catalog's `pg19` from a local copy, without TensorFlow.

  Differs from the catalog's (tensorflow_datasets/datasets/pg19): titles with a comma stay whole, and texts
  keep the white space at their ends.

  Raises:
    UserError: the books or their metadata are not there.
  """
  import numpy as np
  import tensorflow_datasets
  import tqdm
  from tensorflow_datasets import core, features

  paths, facts = books(source_dir), metadata(source_dir)
  for path in itertools.chain(*paths.values()):
    if not path.stem.isdecimal() or int(path.stem) not in facts:
      raise UserError(f'{source_dir / "metadata.csv"} has no row for the book {path}.')
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
        for path in tqdm.tqdm(paths[split], desc=f'writing {split}', unit=' books', delay=2, mininterval=1):
          book_id = int(path.stem)
          yield book_id, {'book_id': book_id, 'book_text': files.read_utf8(path), **facts[book_id]}

  return Pg19(data_dir=str(data_dir), file_format='array_record')
