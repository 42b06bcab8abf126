"""Paths of users: local ones and those in buckets."""

import importlib.util
import os
import pathlib

import pytest
from etils import epath

from infformer_jax import paths
from infformer_jax.errors import ConfigError, UnavailableError, UserError


def test_a_local_path_is_absolute_and_begins_at_the_home_directory_if_it_says_so(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert paths.parse('a/b', '--workdir') == epath.Path(tmp_path / 'a' / 'b')
  assert paths.parse('~/run', '--workdir') == epath.Path(pathlib.Path.home() / 'run')
  assert paths.is_local(paths.parse('a/b', '--workdir'))


def test_a_path_in_a_bucket_keeps_its_scheme():
  path = paths.parse('gs://bucket/run', '--workdir')
  assert not paths.is_local(path / 'config.json')
  assert str(path / 'config.json') == 'gs://bucket/run/config.json'
  assert str(path.parent) == 'gs://bucket'


@pytest.mark.parametrize('scheme', ['s3://', 'file://', 'hdfs://', 'gs:/', 'gs:', 's3:/'])
def test_another_scheme_is_refused_with_the_key_and_what_works(scheme):
  with pytest.raises(ConfigError) as caught:
    paths.parse(f'{scheme}b/run', 'data.source_dir')
  assert str(caught.value) == (
    f"data.source_dir = '{scheme}b/run' must be a local path or begin with gs://; {scheme} is not supported"
  )


def test_an_empty_path_and_one_without_a_bucket_are_refused():
  with pytest.raises(ConfigError, match="--workdir = '' must be a path"):
    paths.parse('', '--workdir')
  for text in ('gs://', 'gs:///run'):
    with pytest.raises(ConfigError, match=f"--workdir = '{text}' must name a bucket, as in gs://bucket/run"):
      paths.parse(text, '--workdir')


@pytest.mark.parametrize('text', ['a\0b', '\ud800', 'gs://bucket/a\0'])
def test_a_character_that_no_path_can_have_is_refused(text):
  with pytest.raises(ConfigError, match=r'data\.source_dir = .* has a character that no path can have'):
    paths.parse(text, 'data.source_dir')
  undecodable = os.fsdecode(b'\xff')
  assert paths.parse(f'/{undecodable}', '--workdir').name == undecodable


def test_what_may_never_end_is_not_read(tmp_path):
  (tmp_path / 'file').write_bytes(b'content')
  (tmp_path / 'link').symlink_to('file')
  assert paths.read_bytes(tmp_path / 'link') == b'content'
  os.mkfifo(tmp_path / 'pipe')
  for endless in (tmp_path / 'pipe', pathlib.Path('/dev/zero')):
    with pytest.raises(OSError, match='not a regular file'):
      paths.read_bytes(endless)
  with pytest.raises(IsADirectoryError):
    paths.read_bytes(tmp_path)


def test_the_folder_above_is_only_known_on_disks():
  with pytest.raises(ConfigError, match=r"--workdir = 'gs://b/a/../c' must not have '..'"):
    paths.parse('gs://b/a/../c', '--workdir')
  assert str(paths.parse('gs://b/a../c', '--workdir')) == 'gs://b/a../c'
  assert paths.is_local(paths.parse('/a/../c', '--workdir'))


def test_a_bucket_without_its_libraries_names_the_extra(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ConfigError, match=r'--workdir = .* run: pip install infformer_jax\[gcs\]'):
    paths.parse('gs://bucket/run', '--workdir')
  assert paths.is_local(paths.parse('/run', '--workdir'))


@pytest.mark.parametrize('given', ['', '/cache'])
def test_the_cache_of_a_user_is_in_the_home_directory_or_where_the_environment_says(given, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', given)
  monkeypatch.setenv('HOME', '/home/me')
  assert str(paths.user_cache()) == f'{given or "/home/me/.cache"}/infformer_jax'


def test_a_missing_object_and_a_missing_bucket_are_errors_with_the_reason(bucket):
  path = paths.parse('gs://bucket/paths/object', '--workdir')
  assert not path.exists()
  with pytest.raises(paths.errors()) as missing:
    path.read_bytes()
  assert paths.reason(missing.value) == 'No such file or directory'
  with pytest.raises(paths.errors()):
    paths.parse('gs://none/object', '--workdir').write_bytes(b'')


def test_what_another_process_writes_is_seen(bucket):
  folder = paths.parse('gs://bucket/paths/folder', '--workdir')
  (folder / 'a').write_bytes(b'')
  assert [path.name for path in folder.iterdir()] == ['a']
  bucket.storage.create_file('bucket', 'paths/folder/b', b'', {'name': 'paths/folder/b', 'size': 0})
  assert sorted(path.name for path in folder.iterdir()) == ['a', 'b']
  assert (folder / 'b').exists()


def test_a_refused_object_prints_nothing(bucket, monkeypatch, caplog):
  path = paths.parse('gs://bucket/paths/refused', '--workdir')
  path.write_bytes(b'x')
  monkeypatch.setattr(bucket, 'refuses', 'refused')
  with pytest.raises(paths.errors(), match='Forbidden'):
    path.read_bytes()
  assert not caplog.records


def test_the_reason_is_one_short_line():
  assert paths.reason(OSError('Forbidden: x\ny')) == 'Forbidden: x y'
  assert paths.reason(PermissionError(13, 'Permission denied')) == 'Permission denied'
  assert paths.reason(ValueError()) == 'ValueError'
  assert len(paths.reason(OSError('x' * 1000))) == 200


def test_an_error_of_a_bucket_may_not_occur_again_unless_the_request_is_wrong(bucket):
  from gcsfs.retry import HttpError

  paths.parse('gs://bucket/x', '--workdir')
  for code in (None, 408, 429, 503):
    assert paths.failure(HttpError({'code': code})) is UnavailableError
  for code in (401, 404):
    assert paths.failure(HttpError({'code': code})) is UserError
  assert paths.failure(FileNotFoundError('x')) is paths.failure(OSError(28, 'No space left')) is UserError
  assert (UserError.code, UnavailableError.code) == (2, 75)
