"""Requests of epath that are repeated while a bucket is away, and those that are not."""

import asyncio

import pytest
from gcsfs.retry import HttpError

from infformer_jax import paths


@pytest.fixture
def sleeps(monkeypatch) -> list[float]:
  """How long gcsfs would have slept between its attempts; it does not."""
  slept, sleep = [], asyncio.sleep

  async def note(seconds: float) -> None:
    if seconds >= 1:
      slept.append(seconds)
    await sleep(0)

  monkeypatch.setattr(asyncio, 'sleep', note)
  return slept


def test_a_request_is_repeated_for_two_minutes(bucket, tmp_path, sleeps):
  path = paths.parse(f'gs://bucket{tmp_path}/a', '--workdir')
  bucket.fails_every = 1
  try:
    with pytest.raises(HttpError):
      path.write_bytes(b'')
  finally:
    bucket.fails_every = 0
  assert sum(sleeps) > 120
  path.write_bytes(b'content')
  assert path.read_bytes() == b'content'


def test_what_a_bucket_refuses_is_not_repeated(bucket, tmp_path, sleeps, monkeypatch):
  path = paths.parse(f'gs://bucket{tmp_path}/a', '--workdir')
  monkeypatch.setattr(bucket, 'refuses', '/upload/storage/v1/b/bucket/o')
  with pytest.raises(OSError, match='Forbidden'):
    path.write_bytes(b'')
  assert not path.exists()
  assert sleeps == []
