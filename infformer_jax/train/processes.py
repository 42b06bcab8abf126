"""Runs of several processes: the hosts of a TPU pod, the tasks of `srun` or `mpirun`, or as configured."""

import glob
import importlib.util
import os

import jax


def initialize() -> None:
  """Joins the other processes, if there are any. Must be called before JAX is used.

  The variables JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID describe them. In a
  task of SLURM or MPI, or on a TPU VM, JAX determines them.
  """
  env = os.environ
  tasks = max(int(env.get(name, 1)) for name in ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE'))
  if 'JAX_NUM_PROCESSES' in env:
    jax.distributed.initialize(
      num_processes=int(env['JAX_NUM_PROCESSES']), process_id=int(env['JAX_PROCESS_ID'])
    )
  elif tasks > 1 or _is_tpu_vm():
    jax.distributed.initialize()


def _is_tpu_vm() -> bool:
  chips = glob.glob('/dev/accel*') + glob.glob('/dev/vfio/[0-9]*')
  wanted = os.environ.get('JAX_PLATFORMS', 'tpu').split(',')
  return bool(chips) and 'tpu' in wanted and importlib.util.find_spec('libtpu') is not None
