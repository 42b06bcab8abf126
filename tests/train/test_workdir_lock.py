"""The lock that allows one training run at a time in a work directory."""

import os

import pytest
from etils import epath

from infformer_jax import objects, paths
from infformer_jax.errors import UnavailableError, UserError
from infformer_jax.train.workdir_lock import lock_workdir


def test_the_work_directory_is_created_and_a_second_training_run_is_rejected(place, monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  workdir = place / 'new' / 'W'
  with lock_workdir(workdir, pytest.fail):
    assert workdir.is_dir()
    with pytest.raises(UserError) as caught, lock_workdir(workdir, pytest.fail):
      pass
  line = str(caught.value)
  assert line.startswith('another run ')
  assert line.endswith(f' is training in {workdir}; wait until it ends, or use another --workdir')
  if not paths.is_local(place):
    assert f', process {os.getpid()}, ' in line
  with lock_workdir(workdir, pytest.fail):
    pass


def test_a_directory_that_cannot_be_created_is_a_user_error(tmp_path):
  (tmp_path / 'file').write_text('')
  error = f'cannot write to {tmp_path}/file/W: Not a directory'
  with pytest.raises(UserError, match=error), lock_workdir(epath.Path(tmp_path / 'file' / 'W'), pytest.fail):
    pass


def test_a_folder_in_place_of_the_lock_is_a_user_error(tmp_path):
  (tmp_path / 'lock').mkdir()
  error = f'cannot write to {tmp_path}/lock: Is a directory'
  with pytest.raises(UserError, match=error), lock_workdir(epath.Path(tmp_path), pytest.fail):
    pass


def test_a_bucket_that_does_not_exist_is_a_user_error(bucket, monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  workdir = paths.parse('gs://none/W', '--workdir')
  error = 'cannot write to gs://none/W: 404 .*; use a writable'
  with pytest.raises(UserError, match=error), lock_workdir(workdir, pytest.fail):
    pass


def test_a_bucket_that_cannot_be_reached_may_be_reached_later(bucket, monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setattr(objects, '_RETRY_SECONDS', 0.1)
  monkeypatch.setattr(bucket, 'fails_every', 1)
  workdir = paths.parse(f'gs://bucket{tmp_path}', '--workdir')
  with (
    pytest.raises(UnavailableError, match=f'cannot write to {workdir}: '),
    lock_workdir(workdir, pytest.fail),
  ):
    pass


@pytest.mark.parametrize('name', ['a[1]', 'a*', 'a?'])
def test_a_name_with_a_wildcard_in_a_bucket_is_a_user_error(bucket, name):
  workdir = paths.parse(f'gs://bucket/{name}/W', '--workdir')
  with pytest.raises(UserError, match=r'must not contain \*, \? or \['), lock_workdir(workdir, pytest.fail):
    pass


def test_a_bucket_in_which_orbax_could_not_delete_is_a_user_error(bucket, monkeypatch, tmp_path):
  monkeypatch.setattr(bucket, 'refuses', '/b/bucket')
  workdir = paths.parse(f'gs://bucket{tmp_path}', '--workdir')
  error = f'cannot use {workdir}: Orbax needs the permission storage.buckets.get'
  with pytest.raises(UserError, match=error), lock_workdir(workdir, pytest.fail):
    pass
