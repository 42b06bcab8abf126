"""Two processes with four devices each that are killed, terminated or suspended.

KILLS and TERMS in the environment are the numbers of random moments.
"""

import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from infformer_jax.train.exits import End
from tests.program import STEPS, Program, assert_same, checkpoint_steps, last_step
from tests.test_main_several_processes import finish, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

KILLS, TERMS = (int(os.environ.get(name, '4')) for name in ('KILLS', 'TERMS'))
END_SECONDS = 10.0  # of the others, after a process has died or failed
SAVE_SECONDS = 30.0
LONG = '--config.train.num_steps=100000', '--config.train.evaluate_every=100000'


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> Program:
  return Program(tmp_path_factory.mktemp('program'))


@pytest.fixture(scope='module')
def undisturbed(program, tmp_path_factory) -> tuple[pathlib.Path, float]:
  """The work directory of an uninterrupted run, and about the seconds that it takes after its start."""
  workdir = tmp_path_factory.mktemp('undisturbed') / 'work'
  processes = joined(program, workdir)
  began = time.monotonic()
  finish(processes, code=0)
  return workdir, (time.monotonic() - began) / 2  # A run that finds all programs compiled takes less time.


def joined(
  program: Program, workdir: pathlib.Path, *flags: str, **environment: str
) -> list[subprocess.Popen]:
  """Starts both processes, and waits until they are connected: then process 0 locks the work directory."""
  (workdir / 'lock').unlink(missing_ok=True)
  processes = start(program, workdir, *flags, **environment)
  while not (workdir / 'lock').exists():
    assert all(process.poll() is None for process in processes), finish(processes, code=0)
    time.sleep(0.01)
  return processes


def at_step(
  program: Program, workdir: pathlib.Path, step: int, *flags: str, **environment: str
) -> list[subprocess.Popen]:
  """Starts both processes, and waits until this step is logged."""
  processes = joined(program, workdir, *LONG, *flags, **environment)
  while last_step(workdir) < step:
    assert all(process.poll() is None for process in processes), finish(processes, code=0)
    time.sleep(0.01)
  return processes


def await_end(process: subprocess.Popen, seconds: float) -> tuple[int, str]:
  """Its exit code and its standard error; it must end in this time."""
  try:
    _, err = process.communicate(timeout=seconds)
  except subprocess.TimeoutExpired:
    process.kill()
    raise AssertionError(f'a process goes on: {process.communicate()}') from None
  # Which of the processes of a machine tokenizes first is left to chance.
  lines = [line for line in err.splitlines(keepends=True) if not line.startswith('waiting for the process ')]
  return process.returncode, ''.join(lines)


def with_fault(program: Program, folder: pathlib.Path, fault: str) -> str:
  """The flag of a config with which process 1 executes `fault` after step 10."""
  lines = (
    'import os, threading',
    'from infformer_jax.train.peers import Peers',
    'def stops_after(self, step, before=Peers.stops_after):',
    '  if step == 10:',
    f'    {fault}',
    '  return before(self, step)',
    'if os.environ["JAX_PROCESS_ID"] == "1":',
    '  Peers.stops_after = stops_after',
  )
  config = folder / 'faulty.py'
  config.write_text(program.config.read_text() + '\n'.join(lines) + '\n')
  return f'--config={config}'


def assert_names_the_dead(end: tuple[int, str], dead: int) -> None:
  """Without process 0, which has JAX's coordinator, JAX may abort before this package exits."""
  code, err = end
  assert code in ((75, -signal.SIGABRT) if dead == 0 else (75,)), end
  assert err == f'{End.dead(dead, socket.gethostname()).line}\n'


def test_runs_killed_at_random_moments_have_the_same_results(program, undisturbed, tmp_path):
  """One process or both; a process that is left ends by itself, with one line, unless the run has ended."""
  rng, (reference, seconds) = random.Random(KILLS), undisturbed
  kills, finished, workdir = 0, 0, tmp_path / '0'
  while kills < KILLS or not finished:
    processes = joined(program, workdir)
    victims = rng.choice([[0], [1], [0, 1]])
    if kills < KILLS:
      time.sleep(rng.uniform(0, seconds))
      for victim in victims:
        processes[victim].kill()
    ends = [await_end(process, 10 * seconds if kills == KILLS else END_SECONDS) for process in processes]
    if any(code == -signal.SIGKILL for code, _ in ends):
      kills += 1
      for index, (code, err) in enumerate(ends):
        assert (index in victims) == (code == -signal.SIGKILL), ends
        if index not in victims and (code, err) == (0, ''):
          assert checkpoint_steps(workdir)[-1] == STEPS
        elif index not in victims:
          assert_names_the_dead((code, err), victims[0])
    else:
      assert ends == [(0, ''), (0, '')]
      assert_same(workdir, reference)
      finished += 1
      workdir = tmp_path / str(finished)
  print(f'{kills} kills, {finished} runs with the same results')


def test_runs_terminated_at_random_moments_have_the_same_results(program, undisturbed, tmp_path):
  """Either process receives SIGTERM: both exit with 143 soon, in the loop after the same step."""
  rng, (reference, seconds) = random.Random(TERMS), undisturbed
  terms, finished, slowest, saved, workdir = 0, 0, 0.0, 0, tmp_path / '0'
  while terms < TERMS or not finished:
    processes = joined(program, workdir)
    if terms < TERMS:
      time.sleep(rng.uniform(0, seconds))
      processes[rng.choice([0, 1])].terminate()
    began = time.monotonic()
    ends = [await_end(process, 10 * seconds if terms == TERMS else SAVE_SECONDS) for process in processes]
    if ends[0][0] == 143:
      terms, slowest = terms + 1, max(slowest, time.monotonic() - began)
      assert [code for code, _ in ends] == [143, 143]
      lines = {re.sub('^process [01] on [^:]*: ', '', err) for _, err in ends}
      assert len(lines) == 1, ends
      if (line := lines.pop()) != 'terminated\n':
        step = checkpoint_steps(workdir)[-1]
        assert line == (
          f'stopped: received SIGTERM; checkpoint {step} is saved, run the same command again to resume\n'
        )
        saved += 1
    else:
      assert ends == [(0, ''), (0, '')]
      assert_same(workdir, reference)
      finished += 1
      workdir = tmp_path / str(finished)
  print(
    f'{terms} times SIGTERM, {saved} saved, at most {slowest:.1f} s, {finished} runs with the same results'
  )


@pytest.mark.parametrize('dead', [0, 1])
def test_a_process_that_loses_the_other_names_it_in_one_line(program, tmp_path, dead):
  processes = at_step(program, tmp_path / 'work', 8)
  processes[dead].kill()
  assert_names_the_dead(await_end(processes[1 - dead], END_SECONDS), dead)
  await_end(processes[dead], END_SECONDS)


@pytest.mark.parametrize('suspended', [0, 1])
def test_a_suspended_process_is_dead_for_the_other(program, tmp_path, suspended):
  """Also where it is suspended, as its host would be, JAX does not abort before."""
  processes = at_step(program, tmp_path / 'work', 8, INFFORMER_PEER_SECONDS='5')
  processes[suspended].send_signal(signal.SIGSTOP)
  code, err = await_end(processes[1 - suspended], 5 + 2 * END_SECONDS)
  line = f'stopped: process {suspended} on {socket.gethostname()} has not answered for 5 s: '
  assert (code, err.count('\n'), err.startswith(line)) == (75, 1, True), err
  processes[suspended].send_signal(signal.SIGCONT)
  assert await_end(processes[suspended], END_SECONDS)[0] == 75


def test_a_hung_run_obeys_sigterm_after_the_grace(program, tmp_path):
  """The main thread of one process hangs; its other threads answer."""
  config = with_fault(program, tmp_path, 'threading.Event().wait()')
  processes = at_step(program, tmp_path / 'work', 8, config, INFFORMER_GRACE_SECONDS='4')
  time.sleep(2)
  began = time.monotonic()
  processes[0].terminate()
  ends = [await_end(process, 4 + END_SECONDS) for process in processes]
  assert time.monotonic() - began >= 4
  problem = 'stopped: received SIGTERM, but the processes reached no common step within 4 s'
  for code, err in ends:
    assert code == 143
    assert err.count('\n') == 1
    assert f'{problem}; checkpoint 7 is the last complete one' in err


def test_an_error_in_one_process_ends_both_with_it(program, tmp_path):
  """Within the same seconds, which begin with the error."""
  failed = tmp_path / 'failed'
  config = with_fault(program, tmp_path, f'open({str(failed)!r}, "w").close(); 1 // 0')
  processes = at_step(program, tmp_path / 'work', 8, config)
  while not failed.exists():
    assert all(process.poll() is None for process in processes)
    time.sleep(0.01)
  last = failed.stat().st_mtime + END_SECONDS
  second, first = (await_end(process, last - time.time()) for process in reversed(processes))
  print(f'ended {END_SECONDS + time.time() - last:.1f} s after the error')
  code, err = second
  assert (code, err.splitlines()[-1]) == (1, 'ZeroDivisionError: integer division or modulo by zero')
  assert err.count('Traceback') == 1
  line = 'error: ZeroDivisionError: integer division or modulo by zero; its output has the traceback'
  assert first == (1, f'process 1 on {socket.gethostname()}: {line}\n')


def test_sigterm_after_the_last_step_ends_both_at_once(program, undisturbed, tmp_path):
  """A finished run has only to be evaluated: process 1 waits while process 0 plots."""
  workdir = shutil.copytree(undisturbed[0], tmp_path / 'work')
  (workdir / 'results.json').unlink()
  processes = joined(program, workdir)
  while not (workdir / 'results.json').exists():
    assert all(process.poll() is None for process in processes)
    time.sleep(0.01)
  processes[1].terminate()
  ends = [await_end(process, END_SECONDS) for process in processes]
  assert ends == [(143, f'process 1 on {socket.gethostname()}: terminated\n'), (143, 'terminated\n')]
