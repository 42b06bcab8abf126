"""launch/multiprocess.sh with processes of this machine."""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import pytest

from tests.program import Program, metrics, results

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = str(ROOT / 'launch/multiprocess.sh')
SAVES = 'trap "echo saved; exit 143" TERM; echo up; while :; do sleep 0.05; done'


def start(*arguments: str, **environment: str) -> subprocess.Popen:
  # What a shell runs in the background ignores SIGINT, and so does what that runs.
  return subprocess.Popen(
    ['env', '--default-signal=INT', SCRIPT, *arguments],
    env=os.environ | environment,
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )


def run(*arguments: str, code: int = 0, **environment: str) -> tuple[list[str], list[str]]:
  """Runs the script until it ends; returns the sorted lines of its stdout and stderr."""
  process = start(*arguments, **environment)
  out, err = process.communicate()
  assert process.returncode == code, f'{process.returncode}\n{out}\n{err}'
  return sorted(out.splitlines()), sorted(err.splitlines())


def test_each_line_names_its_process_which_knows_the_others():
  out, err = run(
    '3', 'bash', '-c', 'echo "$JAX_PROCESS_ID of $JAX_NUM_PROCESSES"; echo "a  b" >&2; printf last'
  )
  assert out == sorted([f'[{i}] {i} of 3' for i in range(3)] + [f'[{i}] last' for i in range(3)])
  assert err == [f'[{i}] a  b' for i in range(3)]


def test_the_arguments_are_unchanged():
  arguments = [
    '--config.init_from=T/memory=none,seed={seed}',
    'a  b',
    '',
    "'",
    '"',
    '$HOME',
    '*',
    'two\nlines',
  ]
  out, _ = run('1', sys.executable, '-c', 'import sys; print(sys.argv[1:])', *arguments)
  assert out == [f'[0] {arguments}']


def test_a_dry_run_prints_the_command_of_every_process():
  process = start('--dry_run', '2', 'python', '-m', 'x', 'a  b')
  lines = [shlex.split(line) for line in process.communicate()[0].splitlines()]
  assert [words[3:] for words in lines] == [
    [f'JAX_PROCESS_ID={i}', 'python', '-m', 'x', 'a  b'] for i in range(2)
  ]
  assert lines[0][:3] == lines[1][:3]
  assert re.fullmatch(
    r'env JAX_COORDINATOR_ADDRESS=127.0.0.1:\d+ JAX_NUM_PROCESSES=2', ' '.join(lines[0][:3])
  )


def test_a_process_that_fails_ends_the_others_and_gives_the_exit_status():
  out, _ = run('3', 'bash', '-c', f'[[ $JAX_PROCESS_ID != 1 ]] || {{ sleep 0.5; exit 7; }}; {SAVES}', code=7)
  assert [line for line in out if 'saved' in line] == ['[0] saved', '[2] saved']


def test_a_process_that_ends_well_does_not_end_the_others():
  out, _ = run('2', 'bash', '-c', '[[ $JAX_PROCESS_ID == 1 ]] || { sleep 1; echo late; }')
  assert out == ['[0] late']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_all_processes_save(number):
  process = start('2', 'bash', '-c', SAVES)
  assert {process.stdout.readline(), process.stdout.readline()} == {'[0] up\n', '[1] up\n'}
  if number == signal.SIGINT:
    os.killpg(process.pid, number)  # As from a terminal.
  else:
    process.send_signal(number)
  out, _ = process.communicate()
  assert sorted(out.splitlines()) == ['[0] saved', '[1] saved']
  assert process.returncode == 143


def test_processes_that_save_after_the_first_has_ended_are_left_alone():
  hung = 'trap "" TERM; sleep 1; echo saved; exit 143'
  out, _ = run('2', 'bash', '-c', f'[[ $JAX_PROCESS_ID == 1 ]] || exit 143; {hung}', code=143)
  assert out == ['[1] saved']


def test_wrong_arguments_are_one_line():
  for arguments in ([], ['2'], ['0', 'x'], ['two', 'x']):
    _, err = run(*arguments, code=2)
    assert len(err) == 1
    assert err[0].startswith('error: the arguments must be a number of processes and a command')


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
  program, workdir = Program(tmp_path), tmp_path / 'work'
  flags = (f'--config={program.config}', f'--workdir={workdir}', '--config.train.num_steps=4')
  out, _ = run(
    *('2', sys.executable, '-m', 'infformer_jax.main', *flags),
    JAX_PLATFORMS='cpu',
    XLA_FLAGS='--xla_backend_optimization_level=0',
  )
  assert all(
    line.startswith('[1] [Gloo]') for line in out if line.startswith('[1]')
  )  # Only process 0 prints.
  assert any(line.startswith(f'[0] everything is in {workdir}') for line in out)
  assert results(workdir)['step'] == metrics(workdir)[-1]['step'] == 4
