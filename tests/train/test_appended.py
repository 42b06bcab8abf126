"""Files that only grow, on disks and in buckets."""

import time

import pytest
from etils import epath

from infformer_jax import objects
from infformer_jax.train.appended import appended


def test_what_is_written_is_stored_by_flush_and_close_after_what_is_kept(place):
  path = place / 'folder' / 'log'
  log = appended(path)
  log.write(b'one\n')
  log.flush()
  assert path.read_bytes() == b'one\n'
  log.write(b'two\n')
  log.close()
  assert path.read_bytes() == b'one\ntwo\n'
  log = appended(path, b'one\n')
  log.write(b'2\n')
  log.close()
  assert path.read_bytes() == b'one\n2\n'


def test_bytes_after_what_is_kept_are_removed_without_a_write(place):
  path = place / 'log'
  path.write_bytes(b'one\ntwo\n')
  appended(path, b'one\n').close()
  assert path.read_bytes() == b'one\n'


def test_on_a_disk_each_write_is_there_at_once(tmp_path):
  log = appended(epath.Path(tmp_path / 'log'))
  log.write(b'one\n')
  assert (tmp_path / 'log').read_bytes() == b'one\n'


@pytest.mark.parametrize(('seconds', 'pause'), [(0.0, 15.0), (0.5, 100.0)])
def test_an_object_is_written_from_time_to_time_the_less_often_the_longer_it_takes(
  seconds, pause, monkeypatch
):
  """`pause` is the time until the next write of an object whose writing takes `seconds`."""
  now, writes = [0.0], []

  def write(path, data):
    now[0] += seconds
    writes.append(bytes(data))

  monkeypatch.setattr(time, 'monotonic', lambda: now[0])
  monkeypatch.setattr(objects, 'write', write)
  log = appended(epath.Path('gs://bucket/log'))
  log.write(b'1')
  log.flush()
  now[0] += pause - 0.1
  log.write(b'2')
  assert writes == [b'1']
  now[0] += 0.2
  log.write(b'3')
  assert writes == [b'1', b'123']
  log.flush()
  assert writes == [b'1', b'123']  # There is nothing new.
