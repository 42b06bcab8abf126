"""Limits of time and memory for what must neither hang nor fill the memory."""

import contextlib
import resource
import signal
import time
import types
from collections.abc import Iterator
from typing import NoReturn


class Hangs(BaseException):
  """Something takes longer than its limit; no handler of exceptions should take it for another error."""


@contextlib.contextmanager
def seconds(limit: float) -> Iterator[None]:
  """Raises Hangs in the block after some seconds, also where it waits for a file; for the main thread."""

  def expired(number: int, frame: types.FrameType | None) -> NoReturn:
    del number, frame
    raise Hangs(f'more than {limit} s')

  before, handler = time.monotonic(), signal.signal(signal.SIGALRM, expired)
  left, _ = signal.setitimer(signal.ITIMER_REAL, limit)  # pytest-timeout has the same timer.
  try:
    yield
  finally:
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - before), 0.1) if left else 0)


@contextlib.contextmanager
def memory(more: int) -> Iterator[None]:
  """Lets the process have so many bytes more of address space, so that a huge array is a MemoryError."""
  with open('/proc/self/statm', encoding='ascii') as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
  soft, hard = resource.getrlimit(resource.RLIMIT_AS)
  resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
