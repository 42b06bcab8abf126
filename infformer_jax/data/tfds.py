"""Any prepared directory of TensorFlow Datasets, read without TensorFlow."""

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
    self._files.local(self._names)
    return self._builder.as_data_source(self._split)

  def read(self, indices: Iterable[int]) -> Iterator[Document]:
    return map(self._document, indices)

  def _document(self, index: int) -> Document:
    example = self._records[index]
    content = example[self._text_feature]
    try:
      content = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
      raise UserError(
        f"data.text_feature = '{self._text_feature}' of example {index} is not UTF-8 at byte offset "
        f'{error.start}; prepare the dataset from UTF-8 texts'
      ) from None
    name = str(example[self._name_feature] if self._name_feature else index)
    return Document(name, content.removeprefix(BOM))


def prepared(files: Files, text_feature: str, name_feature: str | None = None, *, key: str) -> FixedSplits:
  """The splits of a prepared dataset.

  Args:
    files: of one version, with its dataset_info.json.
    text_feature: the feature that is the text.
    name_feature: the feature that names a document; None: its index.
    key: the key and value of the config that led to the folder, for errors.
  Raises:
    UserError: there is no dataset, it is not in ArrayRecord, or it has no such feature.
  """
  import tensorflow_datasets as tfds

  if 'dataset_info.json' not in files.stats:
    raise UserError(
      f'{key} must be a prepared TFDS dataset, with a dataset_info.json; '
      "give the folder of one version, e.g. '.../pg19/0.1.1'"
    )
  about = [name for name in files.stats if 'record-' not in name]  # The records are read later, if at all.
  builder = tfds.builder_from_directory(files.local(about))
  texts = [name for name, feature in builder.info.features.items() if feature.np_dtype == np.object_]
  if text_feature not in texts:
    raise UserError(
      f"data.text_feature = '{text_feature}' must be a text of {files.root} "
      f'(allowed: {", ".join(sorted(texts))})'
    )
  if builder.info.file_format not in tfds.core.FileFormat.with_random_access():
    raise UserError(
      f"{key} must be a dataset with random access ({files.root}); prepare it with file_format='array_record'"
    )
  splits = {
    split: RecordDocuments(builder, split, files, text_feature, name_feature)
    for split, info in builder.info.splits.items()
    if info.num_examples
  }
  facts = {'source_dir': os.fspath(files.root), 'dataset': builder.info.full_name}
  return FixedSplits(documents=splits, facts=facts)
