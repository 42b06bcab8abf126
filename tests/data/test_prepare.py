"""Preparing PG-19 is atomic, and TFDS can read the result."""

import re
import subprocess
import sys

import pytest

from infformer_jax.data import pg19, prepare
from tests.data.books import BOOKS, METADATA, run, splits, write_books


def error_of(capsys):
  """The single line that an error prints."""
  out, err = capsys.readouterr()
  assert not out
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  return err


def test_preparing_again_requires_overwrite(tmp_path, capsys):
  books, data_dir = write_books(tmp_path / 'copy'), tmp_path / 'data'
  assert run(books, data_dir) == 0
  assert capsys.readouterr().out == f'prepared {data_dir}/pg19/{pg19.VERSION}\n'
  assert run(books, data_dir) == 2
  assert 'exists already; use --overwrite' in error_of(capsys)
  write_books(books, {'train/1': 'New.'})
  (data_dir / 'pg19' / f'{pg19.VERSION}.dead.partial' / 'of a killed run').mkdir(parents=True)
  assert run(books, data_dir, '--overwrite') == 0
  assert splits(pg19.Pg19Config(data_dir=str(data_dir)))['train']['1'] == 'New.'
  assert [path.name for path in data_dir.iterdir()] == ['pg19']
  left = {path.name for path in (data_dir / 'pg19').iterdir()}
  assert left == {pg19.VERSION, 'lock'}, 'temporary files remain'


@pytest.mark.parametrize(
  ('books', 'metadata', 'message'),
  [
    ({}, METADATA, 'has no books; the layout of PG-19 is train/ID.txt'),
    (BOOKS | {'train/5': 'five'}, METADATA, r'metadata.csv has no row for the book .*train/5.txt'),
    (BOOKS | {'train/notes': 'n'}, METADATA, r'metadata.csv has no row for the book .*train/notes.txt'),
    (BOOKS, METADATA + '5,a,b\n', "metadata.csv, row 5 must be 'ID,title,year,link', not '5,a,b'"),
    (BOOKS, METADATA + '5,a\x0b,b\n', r"row 5 must be .* not '5,a\\x0b,b'"),
    (
      BOOKS | {'train/2': b'caf\xe9'},
      METADATA,
      r'train/2.txt is not UTF-8: invalid byte 0xe9 at offset 3',
    ),
  ],
)
def test_invalid_copies_leave_the_prepared_dataset_unchanged(books, metadata, message, tmp_path, capsys):
  data_dir = tmp_path / 'data'
  old = data_dir / 'pg19' / pg19.VERSION / 'old'
  old.mkdir(parents=True)
  (tmp_path / 'copy').mkdir()
  assert run(write_books(tmp_path / 'copy', books, metadata), data_dir, '--overwrite') == 2
  assert re.search(message, error_of(capsys))
  assert old.exists()


def test_errors_in_flags_are_one_line(capsys, tmp_path):
  assert prepare.main(['pg9', '--source_dir=a', '--data_dir=b']) == 2
  assert "'pg9'" in error_of(capsys)
  assert prepare.main(['pg19', '--source_dir=a']) == 2
  assert '--data_dir' in error_of(capsys)
  assert run(tmp_path / 'nowhere', tmp_path) == 2
  assert 'nowhere does not exist' in error_of(capsys)


def test_tfds_reads_the_prepared_dataset_without_tensorflow(prepared):
  script = (
    'import sys, tensorflow_datasets as tfds\n'
    "books = tfds.data_source('pg19', split='test', data_dir=sys.argv[1],"
    " builder_kwargs={'file_format': 'array_record'})\n"
    "print(*sorted(books[0]), books[0]['book_id'], 'tensorflow' in sys.modules)\n"
  )
  done = subprocess.run([sys.executable, '-c', script, prepared], capture_output=True, text=True, check=True)
  assert done.stdout == 'book_id book_link book_text book_title publication_date 4 False\n'
