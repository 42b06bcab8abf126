"""One line in place of what JAX writes when it aborts because process 0 has died.

JAX writes it to file descriptor 2, outside of Python, where it takes no callback, and may abort before any
thread of Python runs. So the descriptor becomes a pipe to a small process that runs this file; what a process
writes before it crashes would be lost in a thread.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import BinaryIO

_ABORT = re.compile(rb'[EF]\d{4} .*(coordination_service_agent\.cc|client\.h):\d+\] ')
_STOPPED = b'stopped: process '  # The line of this package, if it was in time.
_LOST = b'Failed to send RPC to coordination service'


def filter_stderr(line: str) -> None:
  """Filters what this process writes to descriptor 2 from now on; `line` says that process 0 has died."""
  command = [sys.executable, '-I', '-S', __file__, line]
  # In a session of its own, since it must survive the signals to this process.
  child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, stderr=2, start_new_session=True)
  assert child.stdin is not None
  os.dup2(child.stdin.fileno(), 2)
  child.stdin.close()


def copy(lines: Iterable[bytes], out: BinaryIO, ours: bytes) -> None:
  """Writes the lines, but `ours` in place of JAX's abort and what follows, if process 0 is its cause."""
  held: list[bytes] = []
  explained = False
  for line in lines:
    if line.startswith(_STOPPED):
      explained = True
    elif held or _ABORT.match(line):
      held.append(line)
      continue
    out.write(line)
    out.flush()
  if not explained:
    out.writelines([ours] if any(_LOST in line for line in held) else held)
    out.flush()


if __name__ == '__main__':
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  copy(sys.stdin.buffer, sys.stdout.buffer, f'{sys.argv[1]}\n'.encode())
