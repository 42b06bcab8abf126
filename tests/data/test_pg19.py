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


def test_books_are_read_from_a_bucket_split_by_split(folder_in_bucket, tmp_path):
  config = pg19.Pg19Config(source_dir=str(write_books(folder_in_bucket)), cache_dir=str(tmp_path / 'C'))
  opened = config.open(NOWHERE)
  assert not (tmp_path / 'C').exists(), 'nothing is copied before it is read'
  validation = opened.documents['validation']
  assert [document.text for document in validation.read([0])] == ['x y']
  assert sorted(path.name for path in (tmp_path / 'C').rglob('*.txt')) == ['30.txt']
  assert splits(config) == splits(pg19.Pg19Config(source_dir=str(write_books(tmp_path / 'copy'))))
  folder_in_bucket.rmtree()
  assert [document.text for document in validation.read([0])] == ['x y']


def test_what_is_not_a_book_is_left_out(tmp_path):
  write_books(tmp_path, BOOKS | {'validation/deep/5': 'x', 'valid/6': 'y'})
  (tmp_path / 'train/7.html').touch()
  assert pg19.Pg19Config(source_dir=str(tmp_path)).open(NOWHERE).left_out == {
    'not train|validation|test/ID.txt': ['train/7.html', 'valid/6.txt', 'validation/deep/5.txt']
  }


def test_metadata_are_read_as_csv(tmp_path):
  """Titles may have any character, and lines may be blank."""
  rows = '\ufeff1,a\x85b\x0bc\u2028d,1815,http://a/1\r\n\r\n2,"x\ny",1900,http://a/2\n \n'
  (tmp_path / 'metadata.csv').write_bytes(rows.encode())
  assert {number: row['book_title'] for number, row in pg19.metadata(tmp_path).items()} == {
    1: 'a\x85b\x0bc\u2028d',
    2: 'x\ny',
  }


@pytest.mark.parametrize('number', ['x', '-1', '9' * 5000, '9999999999'])
def test_a_row_without_the_number_of_a_book_is_refused(tmp_path, number):
  (tmp_path / 'metadata.csv').write_text(f'{number},title,1815,http://a/1')
  with pytest.raises(UserError, match=r"metadata\.csv, row 1 must be 'ID,title,year,link'"):
    pg19.metadata(tmp_path)


def test_a_link_to_itself_among_the_versions_is_ignored(prepared, tmp_path):
  (tmp_path / 'pg19').mkdir()
  (tmp_path / 'pg19' / '9.9.9').symlink_to('9.9.9')
  (tmp_path / 'pg19' / pg19.VERSION).symlink_to(prepared / 'pg19' / pg19.VERSION)
  assert splits(pg19.Pg19Config(data_dir=str(tmp_path)))['validation'] == {'30': 'x y'}


def test_prepared_books_equal_the_books_of_the_bucket(prepared):
  assert splits(pg19.Pg19Config(data_dir=str(prepared))) == {
    'train': {'1': BOOKS['train/1'], '2': BOOKS['train/2']},
    'validation': {'30': 'x y'},
    'test': {'4': 'z z'},
  }


def test_the_error_for_missing_data_contains_the_command_that_prepares_them(tmp_path, monkeypatch):
  source = '--source_dir=gs://deepmind-gutenberg'
  command = f'python -m infformer_jax.data.prepare pg19 {source} --data_dir={tmp_path} '
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
