"""Hides what JAX writes when it aborts because process 0 has died, if this package says the same in a line.

JAX writes it to file descriptor 2, outside of Python, before this package can react, and takes no callback.
The descriptor becomes a pipe to a small process that runs this file. It is not a thread, since what a process
writes before it crashes must not be lost.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import BinaryIO

_ABORT = re.compile(rb'[EF]\d{4} .*(coordination_service_agent\.cc|client\.h):\d+\] ')
_OURS = b'stopped: process '


def filter_stderr() -> None:
  """Filters what this process writes to descriptor 2 from now on."""
  command = [sys.executable, '-I', '-S', __file__]
  # In a session of its own, since it must survive the signals to this process.
  child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, stderr=2, start_new_session=True)
  assert child.stdin is not None
  os.dup2(child.stdin.fileno(), 2)
  child.stdin.close()


def copy(lines: Iterable[bytes], out: BinaryIO) -> None:
  """Writes the lines at once, except those from JAX's abort on: at the end, if there is no line of ours."""
  held: list[bytes] = []
  explained = False
  for line in lines:
    if line.startswith(_OURS):
      explained = True
    elif held or _ABORT.match(line):
      held.append(line)
      continue
    out.write(line)
    out.flush()
  if not explained:
    out.writelines(held)
    out.flush()


if __name__ == '__main__':
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  copy(sys.stdin.buffer, sys.stdout.buffer)
