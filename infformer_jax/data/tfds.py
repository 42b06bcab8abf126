"""Any prepared directory of TensorFlow Datasets, read without TensorFlow."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
from etils import epath

from infformer_jax import paths
from infformer_jax.data.documents import Document, FixedSplits
from infformer_jax.data.folders import Files, flat
from infformer_jax.data.stored import StoredConfig
from infformer_jax.data.text_files import BOM
from infformer_jax.errors import UserError

_ABOUT = 'dataset_info.json or features.json'


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsConfig(StoredConfig):
  """A dataset prepared as ArrayRecord, which allows random access."""

  paths: ClassVar[tuple[str, ...]] = ('source_dir',)

  kind: str = 'tfds'
  source_dir: str  # the prepared version, with its dataset_info.json, e.g. 'tensorflow_datasets/pg19/0.1.1'
  text_feature: str = 'text'

  def open(self, workdir: epath.Path) -> FixedSplits:
    del workdir
    key = f"data.source_dir = '{self.source_dir}'"
    files = flat(paths.parse(self.source_dir, 'data.source_dir'), key, self.copies)
    return prepared(files, self.text_feature, key=key)


class RecordDocuments:
  """The examples of one split, named by one of their features, or by their index."""

  sizes = None

  def __init__(self, builder: Any, split: str, files: Files, text_feature: str, name_feature: str | None):
    """
    Args:
      builder: of TFDS.
      split: the name of the split.
      files: of the prepared dataset.
      text_feature: the feature that is the text.
      name_feature: the feature that names a document; None: its index.
    """
    self._builder, self._split, self._files = builder, split, files
    self._text_feature, self._name_feature = text_feature, name_feature
    self._names = sorted(builder.info.splits[split].filenames)
    self._lengths = builder.info.splits[split].shard_lengths
    if missing := [name for name in self._names if name not in files.stats]:
      raise _damaged(files, missing[0], 'it is missing')

  @property
  def key(self) -> str:
    return f'{self._files.key(self._names)} {self._text_feature}'

  @property
  def outline(self) -> str:
    return f'{self._files.outline(self._names)} {self._text_feature}'

  def __len__(self) -> int:
    return self._builder.info.splits[self._split].num_examples

  @functools.cached_property
  def _records(self) -> Any:
    from array_record.python import array_record_module

    folder = self._files.local(self._names)
    with _intact(self._files, _ABOUT):
      for name, length in zip(self._names, self._lengths, strict=True):
        with _intact(self._files, name):
          file = array_record_module.ArrayRecordReader(str(folder / name))
          found = file.num_records()
          file.close()
        if found != length:
          raise _damaged(self._files, name, f'it has {found:,} of {length:,} records')
      return self._builder.as_data_source(self._split)

  def read(self, indices: Iterable[int]) -> Iterator[Document]:
    return map(self._document, indices)

  def _document(self, index: int) -> Document:
    records, file = self._records, int(np.searchsorted(np.cumsum(self._lengths), index, 'right'))
    with _intact(self._files, self._names[file]):
      example = records[index]
      content = example[self._text_feature]
      name = str(example[self._name_feature] if self._name_feature else index)
    if not isinstance(content, str | bytes):
      raise UserError(
        f"data.text_feature = '{self._text_feature}' must be one text per example, not a "
        f'{type(content).__name__}; use another feature'
      )
    try:
      content = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
      raise UserError(
        f"data.text_feature = '{self._text_feature}' of example {index} is not UTF-8 at byte offset "
        f'{error.start}; prepare the dataset from UTF-8 texts'
      ) from None
    return Document(name, content.removeprefix(BOM))


def prepared(files: Files, text_feature: str, name_feature: str | None = None, *, key: str) -> FixedSplits:
  """The splits of a prepared dataset.

  Args:
    files: of one version, with its dataset_info.json.
    text_feature: the feature that is the text.
    name_feature: the feature that names a document; None: its index.
    key: the key and value of the config that led to the folder, for errors.
  Raises:
    UserError: there is no dataset, it is damaged or not in ArrayRecord, or it has no such feature.
  """
  import tensorflow_datasets as tfds

  if 'dataset_info.json' not in files.stats:
    raise UserError(
      f'{key} must be a prepared TFDS dataset, with a dataset_info.json; '
      "give the folder of one version, e.g. '.../pg19/0.1.1'"
    )
  if 'features.json' not in files.stats:
    raise _damaged(files, 'features.json', 'it is missing, or no regular file')
  about = [name for name in files.stats if 'record-' not in name]  # The records are read later, if at all.
  folder = files.local(about)
  with _intact(files, _ABOUT):
    builder = tfds.builder_from_directory(folder)
    texts = [name for name, feature in builder.info.features.items() if feature.np_dtype == np.object_]
    if text_feature not in texts:
      raise UserError(
        f"data.text_feature = '{text_feature}' must be a text of {files.root} "
        f'(allowed: {", ".join(sorted(texts))})'
      )
    if builder.info.file_format not in tfds.core.FileFormat.with_random_access():
      raise UserError(
        f'{key} must be a dataset with random access ({files.root}); prepare it with '
        "file_format='array_record'"
      )
    splits = {
      split: RecordDocuments(builder, split, files, text_feature, name_feature)
      for split, info in builder.info.splits.items()
      if info.num_examples
    }
    facts = {'source_dir': os.fspath(files.root), 'dataset': builder.info.full_name}
  return FixedSplits(documents=splits, facts=facts)


@contextlib.contextmanager
def _intact(files: Files, name: str) -> Iterator[None]:
  """Takes any error in the block for damage of a file: the libraries raise many types."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    raise _damaged(files, name, error) from None


def _damaged(files: Files, name: str, reason: object) -> UserError:
  why = ' '.join(str(reason).split()) or 'it cannot be read'  # Some errors of ArrayRecord say nothing.
  return UserError(
    f'{files.root / name} is damaged ({why}); prepare the dataset again '
    '(PG-19: python -m infformer_jax.data.prepare pg19 --overwrite ...)'
  )
