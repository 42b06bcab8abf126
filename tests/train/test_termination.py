"""SIGTERM: recorded inside the context, handled as before outside."""

import os
import signal
import threading

import pytest

from infformer_jax.train import joined
from infformer_jax.train import termination as termination_module
from infformer_jax.train.termination import Termination


@pytest.fixture(autouse=True)
def received(monkeypatch):
  """The signals that reach the previous handler."""
  seen: list[int] = []
  before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
  yield seen
  signal.signal(signal.SIGTERM, before)


def test_a_signal_requests_a_stop_and_does_not_reach_the_previous_handler(received):
  with Termination(str) as termination:
    assert not termination.requested(1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert termination.requested(2)
    assert termination.requested(3)
  assert termination.received
  assert received == []


def test_the_previous_handler_is_restored_also_after_an_error(received):
  handler = signal.getsignal(signal.SIGTERM)
  with pytest.raises(KeyError), Termination(str):
    raise KeyError
  assert signal.getsignal(signal.SIGTERM) is handler
  os.kill(os.getpid(), signal.SIGTERM)
  assert received == [signal.SIGTERM]


class Peers:
  """Other processes, which stop after step 5."""

  terminated = False

  def __init__(self):
    self.inside, self.last = False, lambda: ''

  def enter_loop(self, last):
    self.inside, self.last = True, last

  def leave_loop(self):
    self.inside = False

  def stops_after(self, step):
    self.terminated = True
    return step == 5


def test_several_processes_choose_the_step(received, monkeypatch):
  peers = Peers()
  monkeypatch.setattr(joined, '_peers', peers)
  handler = signal.getsignal(signal.SIGTERM)
  with Termination(lambda: 'checkpoint 3') as termination:
    assert signal.getsignal(signal.SIGTERM) is handler
    assert peers.inside
    assert not termination.received
    assert [termination.requested(step) for step in (4, 5)] == [False, True]
  assert not peers.inside
  assert termination.received
  assert peers.last() == 'checkpoint 3'


def test_a_disk_that_does_not_answer_does_not_keep_a_run_from_ending(monkeypatch):
  peers = Peers()
  monkeypatch.setattr(joined, '_peers', peers)
  monkeypatch.setattr(termination_module, '_LAST_SECONDS', 0.1)
  hanging = threading.Event()
  with Termination(lambda: str(hanging.wait(60))):
    assert peers.last() == 'run the same command again to resume from the last checkpoint'
  hanging.set()
