"""Prepared TFDS datasets."""

import json
import shutil

import pytest

from infformer_jax.data import pg19, tfds
from infformer_jax.errors import UserError
from tests.data.books import TITLES, splits
from tests.data.texts import NOWHERE


def test_titles_with_commas_quotes_and_line_breaks_are_preserved(prepared):
  config = tfds.TfdsConfig(source_dir=str(prepared / 'pg19' / pg19.VERSION), text_feature='book_title')
  titles = [title for own in splits(config).values() for title in own.values()]
  assert sorted(titles) == sorted(TITLES.values())


def test_datasets_that_cannot_be_read_are_rejected(prepared, tmp_path):
  version = prepared / 'pg19' / pg19.VERSION
  with pytest.raises(
    UserError, match=r"data\.text_feature = 'text' must be a text of .* \(allowed: book_link, book_text"
  ):
    tfds.TfdsConfig(source_dir=str(version)).open(NOWHERE)
  with pytest.raises(
    UserError,
    match=r"data\.source_dir = '.*' must be a prepared TFDS dataset, with a dataset_info\.json",
  ):
    tfds.TfdsConfig(source_dir=str(prepared)).open(NOWHERE)
  copy = shutil.copytree(version, tmp_path / 'pg19' / pg19.VERSION)
  info = json.loads((copy / 'dataset_info.json').read_text())
  (copy / 'dataset_info.json').write_text(json.dumps(info | {'fileFormat': 'tfrecord'}))
  with pytest.raises(
    UserError,
    match=r"data\.source_dir = '.*' must be a dataset with random access .*file_format='array_record'",
  ):
    tfds.TfdsConfig(source_dir=str(copy), text_feature='book_text').open(NOWHERE)
