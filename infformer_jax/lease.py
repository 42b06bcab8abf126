"""A lease: a lock in a bucket, where no kernel releases it when its holder is killed.

The lease is an object that its holder writes again every few seconds. If it is not written for a minute, it
has no holder any more. Clocks of machines are not compared: the process that waits measures the minute.
"""

import contextlib
import datetime
import hashlib
import os
import pathlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from etils import epath

from infformer_jax import files, objects, paths

_RENEWED_EVERY = 10.0
_LASTS = 60.0
_SEEN_EVERY = 2.0
_BOOT = pathlib.Path('/proc/sys/kernel/random/boot_id')


class Held(Exception):
  """Another process holds the lease; the message names it."""


@contextlib.contextmanager
def lease(path: epath.Path, say: Callable[[str], None]) -> Iterator[None]:
  """Holds a lease until the block ends. A process that loses it, because it was suspended, exits.

  Args:
    path: the object, in a bucket.
    say: called with a line if a lease without a holder is taken over.
  Raises:
    Held: another process holds it.
    paths.errors(): the bucket cannot be reached, or refuses it.
  """
  with contextlib.ExitStack() as stack:
    now = datetime.datetime.now(datetime.UTC)
    holder = f'{socket.gethostname()}, process {os.getpid()}, since {now:%Y-%m-%d %H:%M} UTC'
    mine = {'holder': holder, 'place': _lock_locally(path, stack), 'id': secrets.token_hex(8)}
    stack.callback(_Renewal(path, mine, _acquire(path, mine, say)).end)
    yield


def _lock_locally(path: epath.Path, stack: contextlib.ExitStack) -> str:
  """Locks a file in the user's cache directory as well, and returns the name of this place.

  The kernel releases this lock: a lease with the same name was held by a process that has ended, and can be
  taken over at once. The name is the content of the file, which is random, and the id of the machine's boot:
  machines can share the file, as a copy or by a file system that does not lock across them. It is '' where
  there is no such directory.
  """
  file = paths.user_cache() / 'locks' / hashlib.sha256(os.fspath(path).encode()).hexdigest()
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    stack.enter_context(files.lock(file, wait=False))
    if not file.read_text():
      file.write_text(secrets.token_hex(8))
    return f'{file.read_text()} {_BOOT.read_text().strip()}'
  except BlockingIOError:
    found = objects.about(path)
    raise Held(_holder(found) if found else 'another process on this machine') from None
  except OSError:
    return ''


def _acquire(path: epath.Path, mine: Mapping[str, str], say: Callable[[str], None]) -> int:
  """Writes the lease, and returns its generation; waits until it is certain that nobody holds it."""
  found = objects.about(path)
  if found is not None and not (mine['place'] and mine['place'] == found.metadata.get('place')):
    say(f'{path} is held by {_holder(found)}; it is taken over if this does not change for {_LASTS:.0f} s')
    end = time.monotonic() + _LASTS
    while found is not None and time.monotonic() < end:
      time.sleep(_SEEN_EVERY)
      before, found = found, objects.about(path)
      if found not in (None, before):
        raise Held(_holder(found))
  if found is not None:
    say(f'taking over {path} from {_holder(found)}, which has ended')
  return _write(path, mine, found.generation if found else 0)


def _write(path: epath.Path, mine: Mapping[str, str], generation: int) -> int:
  """Writes the lease over one with this generation, or over none if it is 0."""
  try:
    return objects.write(path, b'', generation=generation, metadata=mine)
  except objects.Changed:
    found = objects.about(path)
  if found is None:  # Someone has removed it by hand.
    return _write(path, mine, 0)
  if found.metadata.get('id') == mine['id']:  # The write was repeated, because its answer was lost.
    return found.generation
  raise Held(_holder(found))


def _holder(found: objects.About) -> str:
  return found.metadata.get('holder', 'an unknown process')


class _Renewal:
  """Writes the lease again from time to time, in a thread."""

  def __init__(self, path: epath.Path, mine: Mapping[str, str], generation: int):
    self._path, self._mine, self._generation = path, mine, generation
    self._ending = threading.Event()
    self._thread = threading.Thread(target=self._renew, daemon=True)
    self._thread.start()

  def end(self) -> None:
    """Gives the lease back; leaves it to its end if the bucket cannot be reached."""
    self._ending.set()
    self._thread.join(_RENEWED_EVERY)
    if not self._thread.is_alive():
      with contextlib.suppress(objects.Changed, *paths.errors()):
        objects.remove(self._path, self._generation)

  def _renew(self) -> None:
    while not self._ending.wait(_RENEWED_EVERY):
      try:
        self._generation = _write(self._path, self._mine, self._generation)
      except Held as other:
        # Not an exception in the main thread: it might write a checkpoint before it ends.
        os.write(2, f'stopped: {self._path} was taken over by {other}\n'.encode())
        os._exit(1)
      except paths.errors():
        pass  # As long as the bucket cannot be reached, nobody else can take the lease over.
