"""Objects in buckets of Google Cloud Storage, where epath is not enough: writes at once and on a condition.

gcsfs, with which epath writes, completes an object also when the writing program fails, and has no condition
for replacing one. Transient errors are retried here for two minutes.
"""

import functools
import mimetypes
import os
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from infformer_jax.paths import BUCKETS

_RETRY_SECONDS = 120.0


class Changed(Exception):
  """An object does not have the expected generation."""


class About(NamedTuple):
  """What is known of an object besides its content."""

  generation: int  # Each write gives the object another one.
  metadata: Mapping[str, str]


def write(
  path: os.PathLike[str],
  data: bytes,
  *,
  generation: int | None = None,
  metadata: Mapping[str, str] | None = None,
) -> int:
  """Writes an object at once: readers see what was there before, or all of it.

  Args:
    path: in a bucket.
    data: the content.
    generation: that of the object to replace; 0: there must be none; None: whatever is there is replaced.
    metadata: is stored with the object.
  Returns:
    The generation of the new object.
  Raises:
    Changed: the object has another generation. It may be the new one, if a write was repeated because its
      answer was lost.
    paths.errors(): the bucket cannot be reached, or refuses it.
  """
  from google.api_core.exceptions import PreconditionFailed

  blob = _blob(path)
  blob.metadata = dict(metadata or {})
  kind = mimetypes.guess_type(os.fspath(path))[0] or 'application/octet-stream'
  try:
    blob.upload_from_string(data, kind, if_generation_match=generation, retry=_retry())
  except PreconditionFailed:
    raise Changed from None
  return int(blob.generation)


def about(path: os.PathLike[str]) -> About | None:
  """What is known of an object; None if there is none.

  Raises:
    paths.errors(): the bucket cannot be reached, or refuses it.
  """
  blob = _blob(path)
  found = blob.bucket.get_blob(blob.name, retry=_retry())
  return found and About(int(found.generation), found.metadata or {})


def remove(path: os.PathLike[str], generation: int) -> None:
  """Removes an object with this generation. Errors are not retried.

  Raises:
    Changed: it has another one, or there is no such object.
    paths.errors(): the bucket cannot be reached, or refuses it.
  """
  from google.api_core.exceptions import NotFound, PreconditionFailed

  try:
    _blob(path).delete(if_generation_match=generation, retry=None)
  except (NotFound, PreconditionFailed):
    raise Changed from None


def may_see_bucket(path: os.PathLike[str]) -> bool:
  """Whether the settings of the bucket can be read, which is another permission than those for its objects.

  Raises:
    paths.errors(): there is no such bucket, or it cannot be reached.
  """
  from google.api_core.exceptions import Forbidden

  bucket = _blob(path).bucket
  try:
    bucket.reload(retry=_retry())
  except Forbidden:
    return False
  return True


def _blob(path: os.PathLike[str]) -> Any:
  bucket, _, name = os.fspath(path).removeprefix(BUCKETS).partition('/')
  return _client(threading.get_ident()).bucket(bucket).blob(name)


@functools.cache
def _client(thread: int) -> Any:
  """Each thread has its own, because its connections cannot be shared."""
  del thread
  from google.cloud import storage

  return storage.Client()


def _retry() -> Any:
  from google.cloud.storage.retry import DEFAULT_RETRY

  return DEFAULT_RETRY.with_delay(maximum=5.0).with_timeout(_RETRY_SECONDS)
