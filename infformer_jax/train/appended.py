"""Files that only grow: logs. Nothing can be appended to an object in a bucket."""

import os
import time
from typing import Protocol

from etils import epath

from infformer_jax import objects, paths

_EVERY_SECONDS = 15.0
_SHARE = 0.005  # of the time, for writing


class Appended(Protocol):
  """A file that is open for appending."""

  def write(self, data: bytes) -> None:
    """Appends; a process that is killed keeps what it has written, in a bucket what is older than a while.

    Raises:
      paths.errors(): the disk is full, or the bucket cannot be reached.
    """

  def flush(self) -> None:
    """Returns when all is stored, even if the machine fails now. Raises as `write`."""

  def close(self) -> None:
    """Stores all. Raises as `write`."""


def appended(path: epath.Path, kept: bytes = b'') -> Appended:
  """Opens a file, which is created if necessary, for appending to what it began with.

  Args:
    path: on a disk or in a bucket.
    kept: the start of the file; what follows it is removed.
  """
  return _OnDisk(path, kept) if paths.is_local(path) else _InBucket(path, kept)


class _OnDisk:
  """A file to which each write appends."""

  def __init__(self, path: epath.Path, kept: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = open(path, 'ab', buffering=0)  # noqa: SIM115
    self._file.truncate(len(kept))

  def write(self, data: bytes) -> None:
    self._file.write(data)

  def flush(self) -> None:
    os.fsync(self._file.fileno())

  def close(self) -> None:
    self._file.close()


class _InBucket:
  """An object that is written anew from time to time, the less often the longer this takes."""

  def __init__(self, path: epath.Path, kept: bytes):
    self._path, self._content = path, bytearray(kept)
    self._stored = False
    self._next = time.monotonic() + _EVERY_SECONDS

  def write(self, data: bytes) -> None:
    self._content += data
    self._stored = False
    if time.monotonic() >= self._next:
      self.flush()

  def flush(self) -> None:
    if not self._stored:
      began = time.monotonic()
      objects.write(self._path, bytes(self._content))
      now = time.monotonic()
      self._stored, self._next = True, now + max(_EVERY_SECONDS, (now - began) / _SHARE)

  def close(self) -> None:
    self.flush()
