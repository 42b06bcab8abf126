"""PG-19: the layout of its bucket, and the dataset that is prepared with TFDS."""

import pytest

from infformer_jax.data import pg19
from infformer_jax.errors import ConfigError, UserError
from tests.data.books import BOOKS, splits, write_books
from tests.data.texts import NOWHERE


def test_books_are_read_from_the_layout_of_the_bucket(tmp_path):
  assert splits(pg19.Pg19Config(source_dir=str(write_books(tmp_path)))) == {
    'train': {'train/1.txt': BOOKS['train/1'], 'train/2.txt': BOOKS['train/2']},
    'validation': {'validation/30.txt': 'x y'},
    'test': {'test/4.txt': 'z z'},
  }


def test_prepared_books_equal_the_books_of_the_bucket(prepared):
  assert splits(pg19.Pg19Config(data_dir=str(prepared))) == {
    'train': {'1': BOOKS['train/1'], '2': BOOKS['train/2']},
    'validation': {'30': 'x y'},
    'test': {'4': 'z z'},
  }


def test_the_error_for_missing_data_contains_the_command_that_prepares_them(tmp_path, monkeypatch):
  command = f'python -m infformer_jax.data.prepare pg19 --source_dir=COPY --data_dir={tmp_path} '
  with pytest.raises(UserError, match=command):
    pg19.Pg19Config(data_dir=str(tmp_path)).open(NOWHERE)
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  with pytest.raises(UserError, match=command):
    pg19.Pg19Config().open(NOWHERE)
  with pytest.raises(UserError, match='has no books'):
    pg19.Pg19Config(source_dir=str(tmp_path)).open(NOWHERE)
  with pytest.raises(
    ConfigError, match="source_dir = 'a' must be None with data_dir = 'b'; give one of them"
  ):
    pg19.Pg19Config(source_dir='a', data_dir='b')
