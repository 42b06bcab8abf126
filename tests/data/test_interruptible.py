"""Ctrl-C during a call of a compiled library."""

import hashlib
import os
import signal
import threading
import time

import pytest

from infformer_jax.data.interruptible import interruptible


@pytest.fixture
def ctrl_c():
  """Makes SIGINT raise KeyboardInterrupt, also where pytest runs in a worker that ignores it."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


def test_the_result_is_that_of_the_function():
  assert interruptible(lambda: [1, 2]) == [1, 2]


def test_an_error_is_raised_where_it_was_called():
  with pytest.raises(KeyError, match='missing'):
    interruptible(lambda: {}['missing'])


def test_an_interrupt_ends_the_call_before_the_library_returns(ctrl_c):
  returned = []

  def library():  # Compiled code that does not look for interrupts, for some seconds.
    hashlib.pbkdf2_hmac('sha256', b'', b'', 5_000_000)
    returned.append(time.monotonic())

  threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
  with pytest.raises(KeyboardInterrupt):
    interruptible(library)
  assert not returned
