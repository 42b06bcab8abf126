"""SIGTERM: recorded inside the context, handled as before outside."""

import os
import signal

import jax
import pytest
from jax.experimental import multihost_utils

from infformer_jax.train.termination import Termination


@pytest.fixture(autouse=True)
def received(monkeypatch):
  """The signals that reach the previous handler."""
  seen: list[int] = []
  before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
  yield seen
  signal.signal(signal.SIGTERM, before)


def test_a_signal_requests_a_stop_and_does_not_reach_the_previous_handler(received):
  with Termination() as termination:
    assert not termination.requested(1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert termination.requested(2)
    assert termination.requested(3)
  assert received == []


def test_the_previous_handler_is_restored_also_after_an_error(received):
  handler = signal.getsignal(signal.SIGTERM)
  with pytest.raises(KeyError), Termination():
    raise KeyError
  assert signal.getsignal(signal.SIGTERM) is handler
  os.kill(os.getpid(), signal.SIGTERM)
  assert received == [signal.SIGTERM]


def test_several_processes_use_the_preemption_service_of_jax(received, monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(multihost_utils, 'reached_preemption_sync_point', lambda step: step == 5)
  handler = signal.getsignal(signal.SIGTERM)
  with Termination() as termination:
    assert signal.getsignal(signal.SIGTERM) is handler
    assert [termination.requested(step) for step in (4, 5)] == [False, True]
