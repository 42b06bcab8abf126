"""launch/tpu_worker.sh in a home directory; most of it is tested through launch/tpu_vm.sh."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
HOST = os.uname().nodename
HUNG = 'trap "" TERM; echo hung; while :; do sleep 0.1; done'


@pytest.fixture
def worker(tmp_path):
  """Runs the script, installed in an empty home directory; returns its standard output."""
  script = tmp_path / 'infformer_jax/source/launch/tpu_worker.sh'
  script.parent.mkdir(parents=True)
  shutil.copy(ROOT / 'launch/tpu_worker.sh', script)

  def run(*arguments: str) -> str:
    command = ['bash', str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

  yield run
  run('settle', '0')


def ended(worker, *command: str) -> str:
  worker('start', *command)
  return worker('settle', '10')


def test_the_state_of_the_command(worker):
  assert worker('status') == f'idle - {HOST}: \n'
  assert ended(worker, 'true').startswith(f'exited 0 {HOST}: == ')
  assert ended(worker, 'bash', '-c', 'echo reason >&2; exit 3') == f'exited 3 {HOST}: reason\n'
  worker('start', 'bash', '-c', 'echo up; sleep 60')
  assert worker('status').startswith('running - ')


def test_a_command_that_does_not_end_is_killed_with_its_children(worker, tmp_path):
  worker('start', 'bash', '-c', f'({HUNG}) & {HUNG}')
  assert worker('settle', '0').startswith('lost - ')
  session = (tmp_path / 'infformer_jax/run/pid').read_text().strip()
  states = subprocess.run(['ps', '-o', 'stat=', '-s', session], capture_output=True, text=True, check=False)
  assert [state for state in states.stdout.split() if not state.startswith('Z')] == []


def test_the_exit_status_is_kept_when_a_shutdown_terminates_all_processes(worker, tmp_path):
  worker('start', 'bash', '-c', 'trap "echo saved; exit 143" TERM; echo up; while :; do sleep 0.05; done')
  while not worker('status').endswith(': up\n'):
    pass
  os.killpg(int((tmp_path / 'infformer_jax/run/pid').read_text()), signal.SIGTERM)
  assert worker('settle', '10') == f'exited 143 {HOST}: saved\n'


def test_a_command_whose_machine_was_restarted_is_lost(worker, tmp_path):
  assert ended(worker, 'bash', '-c', 'kill -KILL $PPID').startswith('lost - ')
  assert ended(worker, 'true').startswith('exited 0 ')


def test_a_finished_command_stays_finished_when_it_is_stopped(worker):
  ended(worker, 'true')
  assert worker('stop').startswith('exited 0 ')
  ended(worker, 'false')
  assert worker('stop').startswith('stopped 1 ')
  assert ended(worker, 'false').startswith('exited 1 ')


def test_the_output_of_several_commands_is_kept(worker):
  ended(worker, 'echo', 'first')
  ended(worker, 'echo', 'second')
  lines = worker('follow').splitlines()
  assert lines[1::2] == ['first', 'second']
  assert [line.partition('UTC: ')[2] for line in lines[::2]] == ['echo first ', 'echo second ']
