"""Objects in an emulated bucket: writes on a condition, and transient errors."""

import threading

import pytest
from etils import epath

from infformer_jax import objects, paths


@pytest.fixture
def path(bucket, tmp_path) -> epath.Path:
  return paths.parse(f'gs://bucket{tmp_path}/object', '--workdir')


@pytest.mark.parametrize('content', [b'', b'text\r', b'\r\n--==0==--\r\n', bytes(range(256)) * 40_000])
def test_any_bytes_are_written(path, content):
  objects.write(path, content)
  assert path.read_bytes() == content


def test_a_write_with_a_generation_replaces_only_that_object(path):
  first = objects.write(path, b'first', generation=0, metadata={'by': 'me'})
  with pytest.raises(objects.Changed):
    objects.write(path, b'second', generation=0)
  assert objects.about(path) == (first, {'by': 'me'})
  second = objects.write(path, b'second', generation=first)
  assert path.read_bytes() == b'second'
  with pytest.raises(objects.Changed):
    objects.write(path, b'third', generation=first)
  with pytest.raises(objects.Changed):
    objects.remove(path, first)
  assert path.read_bytes() == b'second'
  objects.remove(path, second)
  assert objects.about(path) is None
  with pytest.raises(objects.Changed):
    objects.remove(path, second)


def test_a_write_is_repeated_while_requests_fail(path, bucket):
  bucket.fails_every = 2
  try:
    for count in range(2):
      objects.write(path, bytes(count))
      assert objects.about(path) is not None
  finally:
    bucket.fails_every = 0


def test_a_write_waits_for_a_bucket_that_has_disappeared(path, bucket):
  bucket.stop()
  timer = threading.Timer(1, bucket.start)
  timer.start()
  objects.write(path, b'content')
  timer.join()
  assert path.read_bytes() == b'content'


def test_the_settings_of_a_bucket_are_another_permission(path, bucket, monkeypatch):
  assert objects.may_see_bucket(path)
  monkeypatch.setattr(bucket, 'refuses', '/b/bucket')
  assert not objects.may_see_bucket(path)
  objects.write(path, b'')


def test_a_missing_bucket_is_an_error_with_a_reason(bucket):
  with pytest.raises(paths.errors()) as caught:
    objects.write(epath.Path('gs://none/object'), b'')
  assert paths.reason(caught.value).startswith('404 ')
  assert objects.about(epath.Path('gs://none/object')) is None
