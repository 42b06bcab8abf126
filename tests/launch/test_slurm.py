"""launch/slurm.sbatch with fake `srun`, `squeue` and `scontrol` on the PATH."""

import contextlib
import os
import pathlib
import shlex
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / 'launch/slurm.sbatch'
ENVIRONMENT = {'SLURM_JOB_ID': '71', 'SLURM_GPUS_ON_NODE': '4', 'SLURM_CPUS_PER_TASK': '16'}
MAIN = ('python', '-m', 'infformer_jax.main', '--config.init_from=T/memory=none,seed={seed}', 'a  b')


class Slurm:
  """The commands of SLURM, which record their arguments."""

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    self.srun, self.squeue = 'echo "devices $JAX_LOCAL_DEVICE_IDS"', 'echo RUNNING'  # What they do.

  def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    for name, text in {'srun': self.srun, 'squeue': self.squeue, 'scontrol': ''}.items():
      program = self.folder / name
      program.write_text(f'#!/bin/bash\necho "{name} ${{*@Q}}" >>{self.folder}/calls\n{text}\n')
      program.chmod(0o755)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith('SLURM_')}
    path = f'{self.folder}:{os.environ["PATH"]}'
    return subprocess.run(
      ['bash', SCRIPT, *arguments],
      env=inherited | ENVIRONMENT | {'PATH': path} | environment,
      cwd=self.folder,
      capture_output=True,
      text=True,
      check=False,
    )

  @property
  def calls(self) -> list[list[str]]:
    path = self.folder / 'calls'
    return [shlex.split(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def slurm(tmp_path) -> Slurm:
  return Slurm(tmp_path)


def test_one_process_per_node_gets_all_gpus_and_the_arguments_unchanged(slurm):
  done = slurm.run(*MAIN)
  assert done.returncode == 0
  assert slurm.calls == [['srun', '--cpus-per-task=16', '--kill-on-bad-exit=0', *MAIN]]
  assert done.stdout == 'devices 0,1,2,3\n'
  assert slurm.run(*MAIN, SLURM_GPUS_ON_NODE='1').stdout == 'devices 0\n'


def test_a_task_of_an_array_is_a_run_of_the_sweep(slurm):
  slurm.run('python', '-m', 'infformer_jax.ablate', SLURM_ARRAY_TASK_ID='12')
  assert slurm.calls[0][-4:] == ['python', '-m', 'infformer_jax.ablate', '--index=12']


@pytest.mark.parametrize(
  ('code', 'state', 'requeued'),
  [
    (0, 'RUNNING', False),
    (143, 'RUNNING', True),
    (143, 'CANCELLED', False),
    (75, 'RUNNING', True),
    (1, 'RUNNING', False),
    (2, 'RUNNING', False),
    (137, 'RUNNING', True),
    (137, 'CANCELLED', False),
  ],
)
def test_only_a_job_that_may_succeed_later_and_was_not_cancelled_is_queued_again(
  slurm, code, state, requeued
):
  slurm.srun, slurm.squeue = f'exit {code}', f'echo {state}'
  assert slurm.run(*MAIN).returncode == code
  assert (['scontrol', 'requeue', '71'] in slurm.calls) == requeued


def test_only_failures_in_a_row_that_each_come_within_an_hour_end_a_job(slurm):
  """A time limit, which SLURM_RESTART_COUNT counts too, is none."""

  def requeued(code: int, *, seconds: int = 0, job: str = '71') -> bool:
    slurm.srun, before = f'exit {code}', len(slurm.calls)
    done = slurm.run(*MAIN, SECONDS=str(seconds), SLURM_RESTART_COUNT='9', SLURM_JOB_ID=job)
    assert (done.returncode, done.stderr) == (code, '')
    return ['scontrol', 'requeue', job] in slurm.calls[before:]

  assert all(requeued(143) for _ in range(4))
  assert [requeued(code) for code in (75, 137, 75, 75)] == [True, True, True, False]
  assert [requeued(code) for code in (75, 137, 143, 75, 75)] == [True] * 5
  assert requeued(137, seconds=4000)
  assert [requeued(75) for _ in range(3)] == [True] * 3
  assert requeued(75, job='72')
  assert not requeued(75)
  assert requeued(143, job='72')
  (slurm.folder / '.infformer-71.failures').write_text('3 of them\n')  # Not by the script; it counts anew.
  assert requeued(75)
  assert requeued(143)
  assert not list(slurm.folder.glob('.infformer-*'))


def test_a_dry_run_prints_the_command(slurm):
  done = slurm.run('--dry_run', *MAIN, SLURM_ARRAY_TASK_ID='3')
  assert shlex.split(done.stdout) == [
    *('JAX_LOCAL_DEVICE_IDS=0,1,2,3', 'INFFORMER_GRACE_SECONDS=240'),
    *('srun', '--cpus-per-task=16', '--kill-on-bad-exit=0'),
    *(*MAIN, '--index=3'),
  ]
  assert slurm.calls == []


def test_an_error_is_one_line(slurm):
  for done in (slurm.run(), slurm.run(*MAIN, SLURM_GPUS_ON_NODE='')):
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert done.stderr.count('\n') == 1
  assert slurm.calls == []


def test_the_job_asks_for_one_task_per_node_and_a_signal_before_its_end():
  options = [
    line.removeprefix('#SBATCH ') for line in SCRIPT.read_text().splitlines() if line.startswith('#SBATCH')
  ]
  assert {'--ntasks-per-node=1', '--requeue', '--signal=TERM@300', '--open-mode=append'} <= set(options)


SRUN = """
shift 2
for task in 0 1; do
  export SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost SLURM_LOCALID=0
  SLURM_PROCID=$task "$@" &
done
wait
"""
PROGRAM = """
import jax
from jax._src.xla_bridge import CUDA_VISIBLE_DEVICES
from infformer_jax.train import processes
processes.initialize()
# One write per line also where Python does not buffer: both processes write to one pipe.
print(f'{jax.process_index()} of {jax.process_count()}: GPUs {CUDA_VISIBLE_DEVICES.value}\\n', end='')
"""


def free_job() -> int:
  """The number of a job for which the port that JAX derives from it is free."""
  for job in range(4096):
    with socket.socket() as trial, contextlib.suppress(OSError):
      trial.bind(('localhost', 65535 - 4095 + job))
      return job
  raise AssertionError('no port is free')


def test_the_processes_of_a_job_find_each_other_and_the_gpus_of_their_node(slurm):
  slurm.srun = SRUN
  done = slurm.run(
    *(sys.executable, '-c', PROGRAM),
    SLURM_JOB_ID=str(free_job()),
    JAX_PLATFORMS='cpu',
    PYTHONPATH=str(ROOT),
  )
  assert sorted(done.stdout.splitlines()) == ['0 of 2: GPUs 0,1,2,3', '1 of 2: GPUs 0,1,2,3'], done.stderr
