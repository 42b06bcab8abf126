"""JAX's abort is hidden if a line of this package follows, and never lost."""

import io
import os
import subprocess
import sys

from infformer_jax.train.quiet_abort import copy

ABORT = [
  b'E1127 12:21:03.434717    9946 coordination_service_agent.cc:289] Polled an error\n',
  b'F1127 12:21:03.434795    9946 client.h:80] Terminating process because\n',
  b'*** Check failure stack trace: ***\n',
]
OURS = b'stopped: process 0 on host has ended\n'
WARNING = b'warning: a line\n'
PROGRAM = """
import os, sys
from infformer_jax.train.quiet_abort import filter_stderr
filter_stderr()
os.write(2, b'no newline')
os.abort()
"""


def copied(*lines: bytes) -> bytes:
  out = io.BytesIO()
  copy(lines, out)
  return out.getvalue()


def test_only_our_line_about_process_0_remains():
  assert copied(WARNING, *ABORT, OURS) == WARNING + OURS
  assert copied(WARNING, *ABORT[:1], OURS, *ABORT[1:]) == WARNING + OURS
  assert copied(OURS, *ABORT) == OURS


def test_nothing_is_lost_without_our_line():
  assert copied(WARNING, *ABORT, WARNING) == WARNING + b''.join(ABORT) + WARNING
  assert copied(b'F1127 12:21:03.4 9 hlo.cc:80] Check failed\n', WARNING).endswith(WARNING)


def test_what_a_process_writes_before_it_crashes_arrives():
  done = subprocess.run([sys.executable, '-c', PROGRAM], env=os.environ, capture_output=True, check=False)
  assert done.stderr.endswith(b'no newline')
  assert done.returncode < 0
