"""Any prepared directory of TensorFlow Datasets, read without TensorFlow."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from infformer_jax.data import files
from infformer_jax.data.base import DataConfig, Document
from infformer_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsConfig(DataConfig):
  """A dataset prepared as ArrayRecord, which can be read at random."""

  kind: str = 'tfds'
  source_dir: str  # the prepared version, with its dataset_info.json, e.g. 'tensorflow_datasets/pg19/0.1.1'
  text_feature: str = 'text'


class Records:
  """The examples of one split, named by one of their features or else by their place."""

  def __init__(self, records: Any, key: str, text_feature: str, name_feature: str | None):
    self.key = key
    self._records = records
    self._text_feature, self._name_feature = text_feature, name_feature

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> Document:
    example = self._records[index]
    content = example[self._text_feature]
    try:
      content = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
      raise UserError(
        f"example {index}: its feature '{self._text_feature}' is not UTF-8 at byte offset {error.start}."
      ) from None
    return Document(str(example[self._name_feature] if self._name_feature else index), content)


def source(config: TfdsConfig) -> files.Divided:
  """Opens a prepared dataset.

  Raises:
    UserError: there is none, it is not in ArrayRecord, or it has no such feature.
  """
  return prepared(pathlib.Path(config.source_dir).expanduser(), config.text_feature)


def prepared(folder: pathlib.Path, text_feature: str, name_feature: str | None = None) -> files.Divided:
  """The splits of a prepared dataset; errors as `source`."""
  import tensorflow_datasets as tfds

  if not (folder / 'dataset_info.json').is_file():
    raise UserError(
      f'{folder} is not a prepared TFDS dataset: it has no dataset_info.json; '
      "data.source_dir is the folder of one version, e.g. '.../pg19/0.1.1'."
    )
  builder = tfds.builder_from_directory(folder)
  texts = [name for name, feature in builder.info.features.items() if feature.np_dtype == np.object_]
  if text_feature not in texts:
    allowed = ', '.join(sorted(texts))
    raise UserError(
      f"{folder} has no text in the feature '{text_feature}'; data.text_feature can be {allowed}."
    )
  key = files.listing_key(folder, sorted(path for path in folder.iterdir() if path.is_file())) + text_feature
  try:
    splits = {
      split: Records(builder.as_data_source(split), key + split, text_feature, name_feature)
      for split, info in builder.info.splits.items()
      if info.num_examples
    }
  except NotImplementedError:
    raise UserError(
      f"{folder} cannot be read at random; prepare the dataset again with file_format='array_record'."
    ) from None
  return files.Divided(documents=splits, facts={'source_dir': str(folder), 'dataset': builder.info.full_name})
