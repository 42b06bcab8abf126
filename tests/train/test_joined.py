"""What happens in one process of several: how it starts, and how its errors end all."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import pytest

from infformer_jax.errors import UnavailableError, UserError
from infformer_jax.train import joined
from infformer_jax.train.exits import End, NotFiniteError, SaveError, Stopped, Terminated, UnreachableError

JOIN = (
  'import sys, time; from infformer_jax.train import joined as j; '
  'j.join(2, int(sys.argv[1]), timeout=60, grace=30)'
)


CANNOT_SAVE = """
import errno, os, sys
import jax.numpy as jnp
from infformer_jax.train import joined
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.orbax_log import silence_orbax

mkdir = os.mkdir

def full(path, *arguments, **settings):
  if 'orbax-checkpoint-tmp' in os.fspath(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
  mkdir(path, *arguments, **settings)

os.mkdir = full
silence_orbax()
with joined.together():
  checkpoints = Checkpoints(sys.argv[1], warn=print)
  checkpoints.save(1, {'params': jnp.ones(3)}, {}, best=None)
  checkpoints.wait()
"""


class Exit(BaseException):
  """In place of the end of the process."""


class Recorded:
  """Other processes, which record what this one tells them."""

  index = 1

  def __init__(self):
    self.failures, self.finished, self.codes = [], 0, []

  def fail(self, code, line, show, *, own):
    show()
    self.failures.append((code, line, own))
    raise Exit

  def finish(self):
    self.finished += 1

  def leave(self, code):
    assert self.finished
    self.codes.append(code)
    raise Exit


@pytest.fixture
def others(monkeypatch) -> Recorded:
  recorded = Recorded()
  monkeypatch.setattr(joined, '_peers', recorded)
  return recorded


def run(error: BaseException | None) -> None:
  with joined.together():
    if error:
      raise error


def test_a_process_alone_keeps_its_errors_and_exits_with_the_code_of_stopped(capsys, monkeypatch):
  run(None)
  with pytest.raises(UserError):
    run(UserError('no data'))
  with pytest.raises(SystemExit) as stopped:
    run(NotFiniteError(8, 'loss'))
  assert stopped.value.code == 1
  assert capsys.readouterr().err.startswith('stopped: step 8: loss is not finite')
  codes = []
  monkeypatch.setattr(os, '_exit', codes.append)
  with pytest.raises(SystemExit):  # Since the replacement of _exit returns.
    run(UnreachableError('away'))
  assert codes == [75]
  assert capsys.readouterr().err == 'stopped: away\n'


def test_a_process_ends_at_once_if_the_folder_of_a_checkpoint_cannot_be_made(tmp_path):
  """Threads of Orbax would wait for minutes for the one that makes it."""
  command = [sys.executable, '-c', CANNOT_SAVE, str(tmp_path)]
  environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
  assert done.returncode == 1
  line = rf'stopped: a checkpoint could not be written to {tmp_path} \(.*No space left on device.*\); .*\n'
  assert re.fullmatch(line, done.stderr)


@pytest.mark.parametrize(
  ('error', 'code', 'line', 'own'),
  [
    (SaveError('full'), 1, 'stopped: full', False),
    (UnreachableError('away'), 75, 'stopped: away', False),
    (UserError('no\ndata'), 2, 'error: no data', True),
    (KeyError('loss'), 1, "error: KeyError: 'loss'; its output has the traceback", False),
    (KeyboardInterrupt(), 130, 'interrupted', True),
  ],
)
def test_an_error_of_one_process_is_told_to_the_others(others, capsys, error, code, line, own):
  with pytest.raises(Exit):
    run(error)
  assert others.failures == [(code, line, own)]
  assert others.finished == 0
  err = capsys.readouterr().err
  assert err == f'{line}\n' or ('Traceback' in err and type(error).__name__ in err)


@pytest.mark.parametrize('error', [Terminated('SIGTERM'), NotFiniteError(8, 'loss'), SystemExit(1), None])
def test_processes_that_end_alike_wait_for_each_other(others, error):
  if error is None:
    run(error)
  else:
    with pytest.raises((Exit, SystemExit)):
      run(error)
  assert others.failures == []
  assert others.finished == 1
  assert others.codes == ([error.code] if isinstance(error, Stopped) else [])


@pytest.fixture
def _sigterm():
  before = signal.getsignal(signal.SIGTERM)
  yield
  signal.set_wakeup_fd(-1)
  signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures('_sigterm')
def test_sigterm_reaches_the_others_while_the_main_thread_is_blocked(others, monkeypatch):
  received = threading.Event()
  others.received_sigterm = received.set
  monkeypatch.setattr(joined, '_peers', others)
  joined._watch_for_sigterm()
  timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGTERM))
  timer.start()
  assert received.wait(10)


@pytest.mark.usefixtures('_sigterm')
def test_a_process_that_turns_out_to_be_alone_handles_sigterm_as_before(monkeypatch):
  calls = []
  monkeypatch.setattr(jax.distributed, 'initialize', lambda **arguments: calls.append(arguments))
  monkeypatch.setattr(jax.config, 'update', lambda name, value: calls.append({name: value}))
  seen = []
  signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
  joined.join(None, None, timeout=7, grace=3)
  assert joined.peers() is None
  assert {'jax_enable_preemption_service': False} in calls
  assert calls[-1]['heartbeat_timeout_seconds'] > 7
  os.kill(os.getpid(), signal.SIGTERM)
  time.sleep(0.05)
  assert seen == [signal.SIGTERM]


@pytest.mark.usefixtures('_sigterm')
def test_a_process_that_cannot_connect_exits_at_once_with_one_line(monkeypatch, capsys):
  def connect(state, seconds):
    raise UnavailableError('process 1 cannot connect')

  def leave(code: int):
    raise Exit(code)

  monkeypatch.setattr(jax.distributed, 'initialize', lambda **arguments: None)
  monkeypatch.setattr(jax.config, 'update', lambda name, value: None)
  monkeypatch.setattr(joined, 'connect', connect)
  monkeypatch.setattr(os, '_exit', leave)
  with pytest.raises(Exit, match='75'):
    joined.join(2, 1, timeout=7, grace=3)
  assert capsys.readouterr().err == 'error: process 1 cannot connect\n'


def start(program: str, *indices: int) -> list[subprocess.Popen]:
  """Starts processes of two."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  return [
    subprocess.Popen(
      [sys.executable, '-c', program, str(index)],
      env=os.environ | {'JAX_COORDINATOR_ADDRESS': address},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in indices
  ]


def test_a_run_whose_other_processes_do_not_start_ends_with_one_line():
  (process,) = start(JOIN.replace('j.join', 'j._START_SECONDS = 1; j.join'), 0)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 75
  assert err.splitlines()[-1].startswith('error: not all processes have started within 1 s; ')
  assert 'Check failure' not in err


@pytest.mark.parametrize(
  'busy', [pytest.param('time.sleep(60)', marks=pytest.mark.slow), 'sum(range(10**11))']
)
def test_one_line_says_that_process_0_has_died_also_where_threads_cannot_run(busy):
  """A function of C can keep them from running; then JAX aborts first."""
  first, second = start(f'{JOIN}; print(flush=True); {busy}', 0, 1)
  for process in (first, second):
    process.stdout.readline()
  first.kill()
  _, err = second.communicate(timeout=60)
  assert second.returncode in (75, -signal.SIGABRT)
  assert err.splitlines()[-1] == End.dead(0, socket.gethostname()).line
  assert 'client.h' not in err
  first.communicate()
