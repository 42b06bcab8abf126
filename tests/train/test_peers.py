"""Three `Peers` in one process, connected as those of three processes: they end together."""

import socket
import threading
import time

import pytest

from infformer_jax.train import peers
from infformer_jax.train.connections import Connection, Other
from infformer_jax.train.peers import Peers

HERE = socket.gethostname()
SOON = 10.0  # seconds for what takes a part of one


class Group:
  """Process 0 is the hub. A process that ends closes its connections, as the kernel does."""

  def __init__(self, *, timeout: float = SOON, grace: float = SOON, silent: int | None = None):
    self.left: list[tuple[int, int]] = []  # (process, exit code)
    pairs = {index: socket.socketpair() for index in (1, 2)}
    self.sockets = {0: [hub for hub, _ in pairs.values()]} | {i: [own] for i, (_, own) in pairs.items()}
    others = {0: [Other(index, f'host{index}', Connection(hub)) for index, (hub, _) in pairs.items()]}
    others |= {index: [Other(0, 'host0', Connection(own))] for index, (_, own) in pairs.items()}
    self.peers = {
      index: Peers(
        index, others[index], timeout=timeout, grace=grace, leave=lambda code, i=index: self._leave(i, code)
      )
      for index in (0, 1, 2)
      if index != silent
    }

  def _leave(self, index: int, code: int):
    self.left.append((index, code))
    self.kill(index)
    if threading.current_thread() is threading.main_thread():
      raise SystemExit(code)
    threading.Event().wait()

  def kill(self, index: int) -> None:
    for each in self.sockets[index]:
      each.shutdown(socket.SHUT_RDWR)

  def await_ends(self, *processes: int) -> list[int]:
    """The exit codes of the processes, once all of them have ended."""
    end = time.monotonic() + SOON
    while {index for index, _ in self.left} != set(processes):
      assert time.monotonic() < end, self.left
      time.sleep(0.01)
    return [code for _, code in sorted(self.left)]

  def in_threads(self, function) -> list[threading.Thread]:
    """Calls a function of the index for every process."""
    threads = [threading.Thread(target=function, args=(index,), daemon=True) for index in self.peers]
    for thread in threads:
      thread.start()
    return threads


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
  monkeypatch.setattr(peers, '_PULSE', 0.05)
  monkeypatch.setattr(peers, '_OWN_SECONDS', 0.3)
  monkeypatch.setattr(peers, '_LAST_SECONDS', 0.5)


@pytest.mark.parametrize('dead', [2, 0])
def test_a_dead_process_ends_the_others_with_a_line_that_names_it(capfd, dead):
  group = Group(silent=dead)
  group.kill(dead)
  assert group.await_ends(*group.peers) == [75, 75]
  lines = capfd.readouterr().err.splitlines()
  assert len(lines) == 2
  assert set(lines) == {lines[0]}
  assert lines[0].startswith(f'stopped: process {dead} on host{dead} has ended without a word: ')
  assert lines[0].endswith('; run the same command again to resume')


@pytest.mark.parametrize('silent', [2, 0])
def test_a_process_from_which_nothing_is_heard_is_dead(capfd, silent):
  group = Group(silent=silent, timeout=0.5)
  assert group.await_ends(*group.peers) == [75, 75]
  line = f'stopped: process {silent} on host{silent} has not answered for 0 s: '
  assert capfd.readouterr().err.count(line) == 2


@pytest.mark.parametrize('index', [1, 0])
def test_an_error_of_one_process_ends_all_with_its_code_and_line(capfd, index):
  group, shown = Group(), []
  with pytest.raises(SystemExit):
    group.peers[index].fail(2, 'error: no data', lambda: shown.append('error'), own=index == 0)
  assert group.await_ends(0, 1, 2) == [2, 2, 2]
  assert shown == ['error']
  assert capfd.readouterr().err == f'process {index} on {HERE}: error: no data\n' * 2


def test_an_error_that_a_dead_process_has_caused_is_not_shown(capfd):
  group = Group(silent=2)
  group.in_threads(
    lambda index: group.peers[index].fail(1, 'error: Gloo', lambda: pytest.fail('shown'), own=False)
  )
  group.kill(2)
  assert group.await_ends(0, 1) == [75, 75]
  assert capfd.readouterr().err.count('process 2 on host2 has ended without a word') == 2


def test_an_error_that_all_have_is_shown_by_each():
  group, shown = Group(), []

  group.in_threads(
    lambda index: group.peers[index].fail(2, 'error: locked', lambda: shown.append(index), own=True)
  )
  assert group.await_ends(0, 1, 2) == [2, 2, 2]
  assert sorted(shown) == [0, 1, 2]


@pytest.mark.parametrize('receiver', [0, 2])
def test_after_sigterm_all_stop_after_the_same_step(receiver):
  """Each process can be at another step, as far as their collective operations allow."""
  group, stopped = Group(grace=0.5), {}
  barrier = threading.Barrier(3)

  def loop(index: int) -> None:
    group.peers[index].enter_loop(lambda: '')
    for step in range(1, 1000):
      barrier.wait(SOON)
      time.sleep(0.003 * index)
      if group.peers[index].stops_after(step):
        stopped[index] = step
        break
      if index == receiver and step == 5:
        group.peers[index].received_sigterm()
    group.peers[index].leave_loop()
    assert group.peers[index].terminated
    time.sleep(0.7)  # The grace is over, but saving may take longer.
    group.peers[index].finish()

  for thread in group.in_threads(loop):
    thread.join(SOON)
  assert set(stopped) == {0, 1, 2}
  assert len(set(stopped.values())) == 1
  assert 5 < stopped[0] < 50
  assert group.left == []


def test_after_sigterm_all_end_at_once_if_one_is_not_in_its_loop(capfd):
  group = Group()
  for index in (0, 1):
    group.peers[index].enter_loop(lambda: '')
  group.peers[1].received_sigterm()
  assert group.await_ends(0, 1, 2) == [143] * 3
  assert sorted(capfd.readouterr().err.splitlines()) == ['process 1 on host1: terminated'] * 2 + [
    'terminated'
  ]


def test_processes_that_hang_end_some_time_after_sigterm(capfd):
  group = Group(grace=0.3)
  for each in group.peers.values():
    each.enter_loop(lambda: 'checkpoint 7 is the last complete one')
  group.peers[2].received_sigterm()
  assert group.await_ends(0, 1, 2) == [143] * 3
  problem = 'stopped: received SIGTERM, but the processes reached no common step within 0 s'
  assert capfd.readouterr().err.count(f'{problem}; checkpoint 7 is the last complete one\n') == 3


def test_sigterm_ends_a_process_whose_hub_does_not_answer(capfd):
  group = Group(silent=0, grace=0.3)
  group.peers[1].received_sigterm()
  assert group.await_ends(1) == [143]
  assert capfd.readouterr().err.startswith('stopped: received SIGTERM, but ')


def test_all_finish_together_and_the_end_of_one_is_no_death_then(capfd):
  group, finished = Group(), []

  def finish(index: int) -> None:
    time.sleep(0.1 * index)
    group.peers[index].finish()
    finished.append(index)

  for thread in group.in_threads(finish):
    thread.join(SOON)
  assert len(finished) == 3
  group.peers[1].received_sigterm()
  group.kill(0)
  time.sleep(0.2)
  assert group.left == []
  assert capfd.readouterr().err == ''


def test_a_process_that_dies_while_others_wait_for_its_end_is_named(capfd):
  group = Group(silent=1)
  group.in_threads(lambda index: group.peers[index].finish())
  group.kill(1)
  assert group.await_ends(0, 2) == [75, 75]
