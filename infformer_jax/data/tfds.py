"""Any prepared directory of TensorFlow Datasets, read without TensorFlow."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from infformer_jax.data.documents import Document, FixedSplits
from infformer_jax.data.listing import listing_key
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

  def open(self, workdir: pathlib.Path) -> FixedSplits:
    del workdir
    key = f"data.source_dir = '{self.source_dir}'"
    return prepared(pathlib.Path(self.source_dir).expanduser(), self.text_feature, key=key)


class RecordDocuments:
  """The examples of one split, named by one of their features, or by their index."""

  sizes = None

  def __init__(self, records: Any, key: str, text_feature: str, name_feature: str | None):
    self.key = key
    self._records = records
    self._text_feature, self._name_feature = text_feature, name_feature

  def __len__(self) -> int:
    return len(self._records)

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


def prepared(
  folder: pathlib.Path, text_feature: str, name_feature: str | None = None, *, key: str
) -> FixedSplits:
  """The splits of a prepared dataset.

  Args:
    folder: of one version, with its dataset_info.json.
    text_feature: the feature that is the text.
    name_feature: the feature that names a document; None: its index.
    key: the key and value of the config that led to the folder, for errors.
  Raises:
    UserError: there is no dataset, it is not in ArrayRecord, or it has no such feature.
  """
  import tensorflow_datasets as tfds

  if not (folder / 'dataset_info.json').is_file():
    raise UserError(
      f'{key} must be a prepared TFDS dataset, with a dataset_info.json; '
      "give the folder of one version, e.g. '.../pg19/0.1.1'"
    )
  builder = tfds.builder_from_directory(folder)
  texts = [name for name, feature in builder.info.features.items() if feature.np_dtype == np.object_]
  if text_feature not in texts:
    raise UserError(
      f"data.text_feature = '{text_feature}' must be a text of {folder} (allowed: {', '.join(sorted(texts))})"
    )
  listing = (
    listing_key(folder, sorted(path.name for path in folder.iterdir() if path.is_file())) + text_feature
  )
  try:
    splits = {
      split: RecordDocuments(builder.as_data_source(split), listing + split, text_feature, name_feature)
      for split, info in builder.info.splits.items()
      if info.num_examples
    }
  except NotImplementedError:
    raise UserError(
      f"{key} must be a dataset with random access ({folder}); prepare it with file_format='array_record'"
    ) from None
  return FixedSplits(documents=splits, facts={'source_dir': str(folder), 'dataset': builder.info.full_name})
