"""JAX's abort is hidden if a line of this package follows, and never lost."""

import io
import os
import subprocess
import sys

from infformer_jax.train.quiet_abort import copy

ABORT = [
  b'E1127 12:21:03.434717    9946 coordination_service_agent.cc:289] Polled an error\n',
  b'F1127 12:21:03.434795    9946 client.h:80] Terminating process because\n',
  b'absl::Status: UNAVAILABLE: Failed to send RPC to coordination service. Either\n',
  b'*** Check failure stack trace: ***\n',
]
OURS = b'stopped: process 0 on host has ended\n'
OTHER = b'stopped: process 2 on host has ended\n'
WARNING = b'warning: a line\n'
PROGRAM = """
import os, sys
from infformer_jax.train.quiet_abort import filter_stderr
filter_stderr('stopped: process 0')
os.write(2, b'no newline')
os.abort()
"""


def copied(*lines: bytes) -> bytes:
  out = io.BytesIO()
  copy(lines, out, OURS)
  return out.getvalue()


def test_one_line_about_process_0_remains():
  assert copied(WARNING, *ABORT) == WARNING + OURS
  assert copied(WARNING, *ABORT, OURS) == WARNING + OURS
  assert copied(WARNING, *ABORT[:1], OTHER, *ABORT[1:]) == WARNING + OTHER
  assert copied(OTHER, *ABORT) == OTHER


def test_nothing_is_lost_if_process_0_is_not_the_cause():
  other = [*ABORT[:2], *ABORT[3:]]
  assert copied(WARNING, *other, WARNING) == WARNING + b''.join(other) + WARNING
  assert copied(b'F1127 12:21:03.4 9 hlo.cc:80] Check failed\n', WARNING).endswith(WARNING)


def test_what_a_process_writes_before_it_crashes_arrives():
  done = subprocess.run([sys.executable, '-c', PROGRAM], env=os.environ, capture_output=True, check=False)
  assert done.stderr.endswith(b'no newline')
  assert done.returncode < 0
