"""Lists of objects in a bucket, and copies of them."""

from types import SimpleNamespace

import gcsfs.core
import gcsfs.retry
import pytest

from infformer_jax import paths
from infformer_jax.data import buckets
from infformer_jax.errors import UnavailableError, UserError
from tests.data.texts import write

NAMES = ['a.txt', 'b/c.txt', 'b/d/e.txt']


def stats(folder):
  return buckets.objects(folder, 'data.source_dir = X').stats


@pytest.fixture
def folder(folder_in_bucket):
  return write(folder_in_bucket / 'folder', {name: name for name in NAMES}, suffix='')


def test_objects_are_listed_with_their_sizes_and_checksums(folder):
  write(folder.parent, {'folder2/x': 'not below it'})
  before = stats(folder)
  assert {name: stat.size for name, stat in before.items()} == {name: len(name) for name in NAMES}
  write(folder, {'a.txt': 'b.txt'}, suffix='')
  assert [name for name in NAMES if stats(folder)[name] != before[name]] == ['a.txt']
  write(folder, {'a.txt': 'a.txt'}, suffix='')
  assert stats(folder) == before, 'the checksum is that of the content'
  assert list(stats(folder / 'a.txt')) == ['']
  assert stats(folder / 'nothing') == {}


def test_a_whole_bucket_is_listed(bucket):
  from gcp_storage_emulator.handlers.buckets import create_bucket

  create_bucket('books', bucket.storage)
  root = write(paths.parse('gs://books', 'data.source_dir'), {name: name for name in NAMES}, suffix='')
  assert list(stats(root)) == NAMES


def test_names_that_would_be_elsewhere_on_a_disk_are_left_out(bucket, monkeypatch):
  names = ('../up', 'x//y', '', 'an empty folder/', 'not empty/', '.', 'good', 'deep/good')
  found = {f'bucket/folder/{name}': {'size': 1, 'generation': '7', 'crc32c': 'c'} for name in names}
  for folder in ('', 'an empty folder/'):
    found[f'bucket/folder/{folder}']['size'] = 0
  found['bucket/folder/deep/good']['contentEncoding'] = 'gzip'
  monkeypatch.setattr(buckets, '_file_system', lambda _: SimpleNamespace(find=lambda *args, **_: found))
  kept, left_out = buckets.objects(paths.parse('gs://bucket/folder', 'KEY'), 'KEY')
  assert left_out == ['.', '../up', 'not empty/', 'x//y']
  assert kept == {'good': (1, 'generation 7', 'c'), 'deep/good': (1, 'generation 7', '')}


def test_a_bucket_that_does_not_exist_or_may_not_be_read_is_one_line(folder, monkeypatch):
  with pytest.raises(
    UserError, match=r'^data\.source_dir = X is in a bucket that does not exist; correct its'
  ):
    stats(paths.parse('gs://nowhere/x', 'data.source_dir'))

  def refuse(*args, **settings):
    raise gcsfs.retry.HttpError({'code': 401, 'message': 'Anonymous caller\ndoes not have access'})

  monkeypatch.setattr(buckets, '_file_system', lambda _: SimpleNamespace(find=refuse))
  with pytest.raises(UserError) as caught:
    stats(folder)
  assert str(caught.value) == (
    'data.source_dir = X cannot be read: Anonymous caller does not have access, 401; run: '
    'gcloud auth application-default login'
  )


@pytest.fixture
def refuse(monkeypatch):
  """Makes a function after which the first request of a file system raises an error."""

  def refuse(error):
    def call(*args, **settings):
      raise error

    monkeypatch.setattr(gcsfs.core.GCSFileSystem, 'call', call)
    buckets._file_system.cache_clear()

  yield refuse
  buckets._file_system.cache_clear()


def test_a_public_bucket_is_read_without_credentials_and_another_one_with_them(bucket, refuse):
  buckets._file_system.cache_clear()
  assert buckets._file_system('bucket').credentials.token == 'anon'
  for error in (
    gcsfs.retry.HttpError({'code': 401, 'message': 'Anonymous caller'}),
    OSError('Forbidden: b/'),
  ):
    refuse(error)
    assert buckets._file_system('bucket').credentials.token is None


def test_a_bucket_that_cannot_be_reached_is_not_asked_again_with_credentials(bucket, refuse):
  refuse(gcsfs.retry.HttpError({'code': 503, 'message': 'unavailable'}))
  with pytest.raises(
    UnavailableError, match='^data.source_dir = X cannot be read: unavailable, 503; run the'
  ):
    stats(paths.parse('gs://bucket/x', 'KEY'))


def test_copies_are_complete_although_requests_fail_and_are_made_once(folder, tmp_path, bucket):
  write(folder, {f'many/{i}': f'text {i}' * 1000 for i in range(4)})
  found = stats(folder)
  bucket.fails_every = 4
  try:
    buckets.copy(folder, found, tmp_path / 'C')
  finally:
    bucket.fails_every = 0
  assert {name: (tmp_path / 'C' / name).read_bytes() for name in found} == {
    name: (folder / name).read_bytes() for name in found
  }
  assert [path.name for path in tmp_path.iterdir()] == ['C']
  before = bucket.requests
  buckets.copy(folder, found, tmp_path / 'C')
  assert bucket.requests == before


@pytest.mark.parametrize('damaged', ['b', 'b/c.txT'])
def test_a_damaged_copy_is_made_again_with_a_warning(folder, tmp_path, capsys, damaged):
  found, copies = stats(folder), tmp_path / 'C'
  buckets.copy(folder, found, copies)
  assert buckets.missing(found, copies) == {}
  (copies / 'b/c.txt').write_text(damaged)
  assert list(buckets.missing(found, copies)) == ['b/c.txt']
  buckets.copy(folder, found, copies)
  assert (copies / 'b/c.txt').read_text() == 'b/c.txt'
  assert capsys.readouterr().err == f'warning: damaged files in {copies}, which are copied again: 1\n'


def test_an_object_that_is_not_what_the_list_says_is_an_error(folder, tmp_path):
  found = stats(folder)
  write(folder, {'a.txt': 'A.txt'}, suffix='')
  with pytest.raises(OSError, match=r'^a\.txt has changed, or was damaged on the way'):
    buckets.copy(folder, found, tmp_path / 'C')
  assert not (tmp_path / 'C/a.txt').exists()


def test_a_missing_object_ends_the_copying_and_keeps_what_is_complete(folder, tmp_path):
  with pytest.raises(FileNotFoundError):
    buckets.copy(folder, stats(folder) | {'gone': buckets.Stat(1, '')}, tmp_path / 'C')
  assert not list(tmp_path.rglob('gone*'))
  buckets.copy(folder, stats(folder), tmp_path / 'C')
  assert (tmp_path / 'C/b/d/e.txt').read_text() == 'b/d/e.txt'
