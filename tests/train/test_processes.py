"""The conditions for initializing jax.distributed, and its arguments."""

import jax
import pytest

from infformer_jax.train import processes

NAMES = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID', 'SLURM_STEP_NUM_TASKS')


@pytest.mark.parametrize(
  ('environment', 'calls'),
  [
    ({}, []),
    ({'SLURM_STEP_NUM_TASKS': '1'}, []),
    ({'SLURM_STEP_NUM_TASKS': '4'}, [{}]),
    ({'OMPI_COMM_WORLD_SIZE': '2'}, [{}]),
    (
      {'JAX_COORDINATOR_ADDRESS': 'host:1', 'JAX_NUM_PROCESSES': '3', 'JAX_PROCESS_ID': '2'},
      [{'num_processes': 3, 'process_id': 2}],
    ),
  ],
)
def test_processes_are_joined_if_the_environment_requests_it(monkeypatch, environment, calls):
  for name in (*NAMES, 'OMPI_COMM_WORLD_SIZE'):
    monkeypatch.delenv(name, raising=False)
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  made = []
  monkeypatch.setattr(jax.distributed, 'initialize', lambda **arguments: made.append(arguments))
  processes.initialize()
  assert made == calls
