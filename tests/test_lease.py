"""Leases in an emulated bucket: held, renewed, given back, taken over, lost."""

import contextlib
import multiprocessing
import os
import shutil
import time

import pytest
from etils import epath

from infformer_jax import lease as module
from infformer_jax import objects, paths
from infformer_jax.lease import Held, lease

_PROCESSES = multiprocessing.get_context('spawn')


@pytest.fixture
def path(bucket, tmp_path, monkeypatch) -> epath.Path:
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setattr(module, '_RENEWED_EVERY', 0.05)
  monkeypatch.setattr(module, '_SEEN_EVERY', 0.05)
  monkeypatch.setattr(module, '_LASTS', 1.0)
  return paths.parse(f'gs://bucket{tmp_path}/lock', '--workdir')


@contextlib.contextmanager
def elsewhere(monkeypatch, tmp_path):
  """On another machine: with another cache directory."""
  with monkeypatch.context() as patch:
    patch.setenv('XDG_CACHE_HOME', str(tmp_path / 'elsewhere'))
    yield


def test_a_lease_is_renewed_while_it_is_held_and_given_back(path):
  with lease(path, pytest.fail):
    first = objects.about(path)
    deadline = time.monotonic() + 30
    while objects.about(path).generation == first.generation:
      assert time.monotonic() < deadline
    assert objects.about(path).metadata == first.metadata
    assert f'process {os.getpid()}, since ' in first.metadata['holder']
  assert objects.about(path) is None


def test_it_excludes_other_processes_of_this_machine_at_once_and_names_the_holder(path, monkeypatch):
  monkeypatch.setattr(module, '_SEEN_EVERY', 3600)  # Nobody waits.
  with lease(path, pytest.fail):
    with pytest.raises(Held, match=f', process {os.getpid()}, since 20..-'), lease(path, pytest.fail):
      pass
    assert objects.about(path) is not None
  with lease(path, pytest.fail):
    pass


def test_it_excludes_other_machines_while_it_is_renewed(path, monkeypatch, tmp_path):
  lines = []
  held = pytest.raises(Held, match=f', process {os.getpid()}, ')
  with lease(path, pytest.fail), elsewhere(monkeypatch, tmp_path), held, lease(path, lines.append):
    pass
  assert len(lines) == 1
  assert lines[0].endswith('it is taken over if this does not change for 1 s')


def test_one_that_is_not_renewed_is_taken_over_with_a_message(path):
  objects.write(path, b'', metadata={'holder': 'old, process 7', 'place': 'elsewhere', 'id': '1'})
  lines = []
  with lease(path, lines.append):
    assert f'process {os.getpid()}' in objects.about(path).metadata['holder']
  assert lines == [
    f'{path} is held by old, process 7; it is taken over if this does not change for 1 s',
    f'taking over {path} from old, process 7, which has ended',
  ]


def test_one_that_is_given_back_while_another_waits_is_taken(path):
  generation = objects.write(path, b'', metadata={'holder': 'old', 'place': 'elsewhere'})
  lines = []

  def say(line):
    lines.append(line)
    objects.remove(path, generation)

  with lease(path, say):
    pass
  assert len(lines) == 1


def _hold(path: str, connection) -> None:
  module._RENEWED_EVERY = 0.05
  with lease(paths.parse(path, '--workdir'), print):
    connection.send('held')
    time.sleep(3600)


def start_holder(path: epath.Path) -> multiprocessing.Process:
  """A process of this machine that holds the lease until it is killed."""
  here, there = _PROCESSES.Pipe()
  process = _PROCESSES.Process(target=_hold, args=(str(path), there))
  process.start()
  assert here.recv() == 'held'
  return process


def test_that_of_a_killed_process_of_this_machine_is_taken_over_at_once(path, monkeypatch):
  monkeypatch.setattr(module, '_SEEN_EVERY', 3600)  # Nobody waits.
  process = start_holder(path)
  process.kill()
  process.join()
  lines = []
  with lease(path, lines.append):
    pass
  assert len(lines) == 1
  assert f', process {process.pid}, ' in lines[0]


def test_a_machine_with_a_copy_of_the_cache_directory_is_another_one(path, monkeypatch, tmp_path):
  monkeypatch.setattr(module, '_LASTS', 0.1)
  process, lines = start_holder(path), []
  process.kill()
  process.join()
  shutil.copytree(tmp_path / 'cache', tmp_path / 'elsewhere')
  (tmp_path / 'boot_id').write_text('another')
  monkeypatch.setattr(module, '_BOOT', tmp_path / 'boot_id')
  with elsewhere(monkeypatch, tmp_path), lease(path, lines.append):
    pass
  assert 'it is taken over if this does not change' in lines[0]


def test_of_two_that_take_over_one_wins(path):
  found = objects.about(path)
  assert found is None
  mine, other = {'id': 'mine', 'holder': 'me'}, {'id': 'other', 'holder': 'the other'}
  generation = module._write(path, mine, 0)
  with pytest.raises(Held, match='me'):
    module._write(path, other, 0)
  assert module._write(path, mine, 0) == generation  # As if the answer had been lost.
  objects.remove(path, generation)
  module._write(path, mine, generation)  # Someone has removed it by hand.


def test_a_process_that_loses_its_lease_ends_and_leaves_it_to_the_other(path, capfd):
  process = start_holder(path)
  objects.write(path, b'', metadata={'holder': 'the other', 'id': 'other'})
  process.join()
  assert process.exitcode == 1
  assert capfd.readouterr().err == f'stopped: {path} was taken over by the other\n'
  assert objects.about(path).metadata['holder'] == 'the other'


def test_a_bucket_that_disappears_for_a_while_does_not_end_a_lease(path, bucket, monkeypatch):
  monkeypatch.setattr(objects, '_RETRY_SECONDS', 0.2)
  with lease(path, pytest.fail):
    bucket.stop()
    time.sleep(1)
    bucket.start()
    before = objects.about(path)
    deadline = time.monotonic() + 30
    while objects.about(path).generation == before.generation:
      assert time.monotonic() < deadline


def test_without_a_directory_for_locks_the_lease_alone_excludes(path, monkeypatch, tmp_path):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
  with lease(path, pytest.fail), pytest.raises(Held), lease(path, lambda line: None):
    pass
