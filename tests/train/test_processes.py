"""The conditions for initializing jax.distributed, and its arguments."""

import os

import jax
import pytest

from infformer_jax.errors import UserError
from infformer_jax.train import processes
from infformer_jax.train.exits import NotFiniteError, SaveError, Terminated, UnreachableError

CONFIGURED = {'JAX_COORDINATOR_ADDRESS': 'host:1', 'JAX_NUM_PROCESSES': '3', 'JAX_PROCESS_ID': '2'}
SLURM = {
  'SLURM_STEP_NUM_TASKS': '4',
  'SLURM_JOB_ID': '7',
  'SLURM_STEP_NODELIST': 'node[1-4]',
  'SLURM_NTASKS': '4',
  'SLURM_PROCID': '0',
  'SLURM_LOCALID': '0',
}
MPI = {
  'OMPI_COMM_WORLD_SIZE': '2',
  'OMPI_MCA_orte_hnp_uri': '4096.0;tcp://10.0.0.1:34911',
  'OMPI_COMM_WORLD_RANK': '0',
  'OMPI_COMM_WORLD_LOCAL_RANK': '0',
}


@pytest.fixture
def calls(monkeypatch) -> list:
  """The arguments of every call of jax.distributed.initialize. No variable of processes is set."""
  for name in (*CONFIGURED, *SLURM, *MPI):
    monkeypatch.delenv(name, raising=False)
  made: list = []
  monkeypatch.setattr(jax.distributed, 'initialize', lambda **arguments: made.append(arguments))
  return made


@pytest.mark.parametrize(
  ('environment', 'arguments'),
  [
    ({}, []),
    ({'SLURM_STEP_NUM_TASKS': '1'}, []),
    ({'OMPI_COMM_WORLD_SIZE': '1'}, []),
    (SLURM, [{}]),
    (SLURM | {'JAX_COORDINATOR_ADDRESS': 'host:1'}, [{}]),
    (MPI, [{}]),
    (CONFIGURED, [{'num_processes': 3, 'process_id': 2}]),
    (SLURM | CONFIGURED, [{'num_processes': 3, 'process_id': 2}]),
  ],
)
def test_processes_are_joined_if_the_environment_requests_it(monkeypatch, calls, environment, arguments):
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  processes.initialize()
  assert calls == arguments


@pytest.mark.parametrize('environment', [CONFIGURED, SLURM, MPI], ids=['configured', 'slurm', 'mpi'])
def test_a_missing_variable_is_named(monkeypatch, calls, environment):
  for missing in environment:
    if missing in ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE'):  # Then it is a single process.
      continue
    for name, value in environment.items():
      monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(UserError, match=f'^the environment variable {missing} is missing with .* = .*; set '):
      processes.initialize()
  assert calls == []


@pytest.mark.parametrize('only', CONFIGURED)
def test_one_of_the_three_variables_alone_is_refused(monkeypatch, calls, only):
  monkeypatch.setenv(only, CONFIGURED[only])
  with pytest.raises(UserError, match=f'with {only} = {CONFIGURED[only]}; set it, or unset {only}$'):
    processes.initialize()
  assert calls == []


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'JAX_NUM_PROCESSES': 'two'}, "JAX_NUM_PROCESSES = 'two' must be an integer of at least 1"),
    ({'JAX_NUM_PROCESSES': '0'}, "JAX_NUM_PROCESSES = '0' must be an integer of at least 1"),
    ({'JAX_PROCESS_ID': '-1'}, "JAX_PROCESS_ID = '-1' must be an integer of at least 0"),
    ({'JAX_PROCESS_ID': '3'}, 'JAX_PROCESS_ID = 3 must be less than JAX_NUM_PROCESSES = 3'),
    ({'SLURM_STEP_NUM_TASKS': ''}, "SLURM_STEP_NUM_TASKS = '' must be an integer"),
  ],
)
def test_a_variable_that_is_not_a_number_in_its_range_is_refused(monkeypatch, calls, change, message):
  for name, value in (CONFIGURED | change).items():
    monkeypatch.setenv(name, value)
  with pytest.raises(UserError, match=message):
    processes.initialize()
  assert calls == []


@pytest.mark.parametrize(
  ('error', 'count', 'at_once'),
  [
    (SaveError('full'), 2, True),
    (UnreachableError('away'), 2, True),
    (SaveError('full'), 1, False),
    (Terminated('SIGTERM'), 2, False),
    (NotFiniteError(8, 'loss'), 2, False),
  ],
)
def test_a_process_exits_at_once_if_others_may_go_on(monkeypatch, error, count, at_once):
  codes = []
  monkeypatch.setattr(jax, 'process_count', lambda: count)
  monkeypatch.setattr(os, '_exit', codes.append)
  with pytest.raises(SystemExit) as regular:
    processes.leave(error)
  assert regular.value.code == error.code
  assert codes == [error.code] * at_once
