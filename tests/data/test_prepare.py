"""Preparing PG-19 is atomic, and TFDS can read the result."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys

import pytest

from infformer_jax import lease, paths
from infformer_jax.data import pg19, prepare
from infformer_jax.lock import lock
from tests.data.books import BOOKS, METADATA, run, splits, write_books


def error_of(capsys):
  """The line that an error prints, perhaps after a warning about the numbers of books."""
  out, err = capsys.readouterr()
  assert not out
  *warnings, line = err.splitlines()
  assert line.startswith('error: ')
  assert all(warning.startswith('warning: ') for warning in warnings)
  return line


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
  assert 'nowhere has no books' in error_of(capsys)
  assert run('s3://b/books', tmp_path) == 2
  assert "--source_dir = 's3://b/books' must be a local path or begin with gs://" in error_of(capsys)
  write_books(tmp_path / 'copy')
  (tmp_path / 'copy' / 'metadata.csv').unlink()
  assert run(tmp_path / 'copy', tmp_path / 'data') == 2
  assert 'has no metadata.csv' in error_of(capsys)


def test_a_split_of_several_files_has_all_books_in_the_order_of_their_files(tmp_path, monkeypatch):
  monkeypatch.setattr(pg19, '_SHARD', 30)
  books = {f'train/{number}': f'book {number}' for number in range(10, 20)} | BOOKS
  metadata = METADATA + ''.join(f'{number},T,1900,http://a\n' for number in range(10, 20))
  assert run(write_books(tmp_path / 'copy', books, metadata), tmp_path / 'data') == 0
  train = splits(pg19.Pg19Config(data_dir=str(tmp_path / 'data')))['train']
  assert list(train.items()) == [
    (name.removeprefix('train/'), text) for name, text in sorted(books.items()) if name.startswith('train/')
  ]
  assert len(list((tmp_path / 'data').rglob('pg19-train.*'))) == 4


def test_numbers_of_books_that_are_not_those_of_pg19_are_a_warning(tmp_path, capsys):
  assert run(write_books(tmp_path / 'copy'), tmp_path / 'data') == 0
  assert capsys.readouterr().err == (
    f'warning: --source_dir = {tmp_path}/copy has 2 books in train, 1 in validation, 1 in test; '
    'PG-19 has 28,602 books in train, 50 in validation, 100 in test\n'
  )


KILLED = """
import os, signal, sys
from infformer_jax.data import buckets
from tests.data.books import run

copies, file_system = [], buckets._file_system

class Killed:
  def __init__(self, bucket):
    self.find = file_system(bucket).find
    self._get_file = file_system(bucket).get_file

  def get_file(self, *args, **settings):
    if len(copies) == 3: os.kill(os.getpid(), signal.SIGKILL)
    self._get_file(*args, **settings)
    copies.append(args)

buckets._AT_ONCE, buckets._file_system = 1, Killed
run(sys.argv[1], sys.argv[2])
"""


def copies_of(folder):
  return {path: path.stat().st_mtime_ns for path in folder.rglob('*.txt')}


def test_a_killed_command_does_not_copy_books_from_a_bucket_again(folder_in_bucket, tmp_path, monkeypatch):
  write_books(folder_in_bucket)
  data_dir, at_the_end = tmp_path / 'data', []
  environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
  script = [sys.executable, '-c', KILLED, str(folder_in_bucket), data_dir]
  assert subprocess.run(script, env=environment, check=False).returncode == -signal.SIGKILL
  before = copies_of(data_dir)
  assert len(before) == 2, 'the first file is metadata.csv'

  def remove(folder, ignore_errors=False, rmtree=shutil.rmtree):
    if folder.name == 'books.partial':
      at_the_end.append(copies_of(data_dir))
    rmtree(folder, ignore_errors=ignore_errors)

  monkeypatch.setattr(prepare.shutil, 'rmtree', remove)
  assert run(folder_in_bucket, data_dir) == 0
  assert before.items() <= at_the_end[0].items()
  assert len(at_the_end[0]) == len(BOOKS)
  assert splits(pg19.Pg19Config(data_dir=str(data_dir)))['test'] == {'4': 'z z'}
  assert {path.name for path in (data_dir / 'pg19').iterdir()} == {pg19.VERSION, 'lock'}


def test_of_two_machines_one_writes_a_dataset(place, tmp_path, monkeypatch, capsys):
  for name in ('_RENEWED_EVERY', '_SEEN_EVERY'):
    monkeypatch.setattr(lease, name, 0.05)
  data_dir = place / 'data'
  with lock(data_dir / 'pg19' / 'lock', pytest.fail):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'of the other machine'))
    assert run(tmp_path / 'books', data_dir) == 2
  *_, line = capsys.readouterr().err.splitlines()
  assert line.startswith('error: another process')
  assert line.endswith(f' is writing {data_dir}/pg19/{pg19.VERSION}; wait until it ends')


def test_a_bucket_that_does_not_exist_is_an_error_before_books_are_read(bucket, tmp_path, capsys):
  assert run(tmp_path / 'nowhere', 'gs://none/data') == 2
  assert error_of(capsys).startswith('error: --data_dir = gs://none/data must be writable: ')


def test_a_disk_without_space_is_one_line_with_the_remedy(folder_in_bucket, tmp_path, capsys):
  books = write_books(tmp_path / 'copy', BOOKS | {'train/1': 'text' * 10**5})
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
  try:
    codes = [run(books, data_dir) for data_dir in (tmp_path / 'data', folder_in_bucket / 'data')]
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)
  assert codes == [2, 2]
  disk, cache = (line for line in capsys.readouterr().err.splitlines() if not line.startswith('warning: '))
  assert disk == (
    f'error: --data_dir = {tmp_path}/data must be writable: File too large; correct this or use another '
    '--data_dir'
  )
  assert re.fullmatch(
    rf'error: {paths.user_cache()}/prepared/\w+, where the dataset is written before it is copied to '
    f'{folder_in_bucket}/data, must be writable: File too large; '
    'correct this or set XDG_CACHE_HOME to another directory',
    cache,
  )


def test_a_dataset_is_written_to_a_bucket_and_read_from_it(folder_in_bucket, tmp_path, prepared, capsys):
  books, data_dir = write_books(tmp_path / 'copy'), folder_in_bucket / 'data'
  assert run(books, data_dir) == 0
  assert capsys.readouterr().out == f'prepared {data_dir}/pg19/{pg19.VERSION}\n'
  assert splits(pg19.Pg19Config(data_dir=str(data_dir))) == splits(pg19.Pg19Config(data_dir=str(prepared)))
  assert not list((paths.user_cache() / 'prepared').iterdir()), 'no second copy remains'
  assert run(books, data_dir) == 2
  assert 'exists already; use --overwrite' in error_of(capsys)
  write_books(books, {'train/1': 'New.'})
  assert run(books, data_dir, '--overwrite') == 0
  assert splits(pg19.Pg19Config(data_dir=str(data_dir)))['train']['1'] == 'New.'


def test_a_dataset_that_a_killed_command_has_not_uploaded_is_written_again(
  folder_in_bucket, tmp_path, monkeypatch, capsys
):
  books, data_dir = write_books(tmp_path / 'copy'), folder_in_bucket / 'data'

  def killed(folder, target):
    for file in folder.glob('*record*'):  # A machine that fails may leave this.
      file.write_bytes(b'')
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(prepare, '_copy', killed)
    assert run(books, data_dir) == 130
  assert list((paths.user_cache() / 'prepared').glob('*/*/dataset_info.json'))
  write_books(books, {'train/1': 'Changed.'})
  capsys.readouterr()
  assert run(books, data_dir) == 0
  assert ' has 2 books in train, ' in capsys.readouterr().err
  assert splits(pg19.Pg19Config(data_dir=str(data_dir)))['train'] == {'1': 'Changed.', '2': BOOKS['train/2']}


def test_tfds_reads_the_prepared_dataset_without_tensorflow(prepared):
  script = (
    'import sys, tensorflow_datasets as tfds\n'
    "books = tfds.data_source('pg19', split='test', data_dir=sys.argv[1],"
    " builder_kwargs={'file_format': 'array_record'})\n"
    "print(*sorted(books[0]), books[0]['book_id'], 'tensorflow' in sys.modules)\n"
  )
  done = subprocess.run([sys.executable, '-c', script, prepared], capture_output=True, text=True, check=True)
  assert done.stdout == 'book_id book_link book_text book_title publication_date 4 False\n'
