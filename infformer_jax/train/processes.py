"""Runs of several processes: the hosts of a TPU pod, the tasks of `srun` or `mpirun`, or as configured."""

import glob
import importlib.util
import os
import sys
from typing import NoReturn

import jax

from infformer_jax.errors import UserError
from infformer_jax.train.exits import Stopped

_OWN = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
# Where the number of tasks is more than 1, JAX needs the other variables (jax/_src/clusters).
_LAUNCHERS = {
  'SLURM_STEP_NUM_TASKS': (
    *('SLURM_JOB_ID', 'SLURM_STEP_NODELIST'),
    *('SLURM_NTASKS', 'SLURM_PROCID', 'SLURM_LOCALID'),
  ),
  'OMPI_COMM_WORLD_SIZE': (
    *('OMPI_MCA_orte_hnp_uri', 'OMPI_COMM_WORLD_RANK'),
    'OMPI_COMM_WORLD_LOCAL_RANK',
  ),
}


def initialize() -> None:
  """Joins the other processes, if there are any. Must be called before JAX is used.

  The variables JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID describe them. In a
  task of SLURM or MPI, or on a TPU VM, JAX determines them.

  Raises:
    UserError: a variable is missing, or not a number in its range.
  """
  launcher = next((count for count in _LAUNCHERS if count in os.environ and _number(count) > 1), None)
  if 'JAX_NUM_PROCESSES' in os.environ or 'JAX_PROCESS_ID' in os.environ:
    _require(_OWN)
    count, index = _number('JAX_NUM_PROCESSES', least=1), _number('JAX_PROCESS_ID')
    if index >= count:
      raise UserError(f'JAX_PROCESS_ID = {index} must be less than JAX_NUM_PROCESSES = {count}')
    jax.distributed.initialize(num_processes=count, process_id=index)
  elif launcher is not None:
    _require(_LAUNCHERS[launcher], because=f'{launcher} = {os.environ[launcher]}')
    jax.distributed.initialize()
  elif _is_tpu_vm():
    jax.distributed.initialize()
  elif 'JAX_COORDINATOR_ADDRESS' in os.environ:
    _require(_OWN)


def leave(stopped: Stopped) -> NoReturn:
  """Exits because of this error; at once, if other processes may go on.

  A regular exit would wait for threads of Orbax, which wait for the other processes, which wait for this one.
  JAX ends them when this process is gone.
  """
  if stopped.of_one_process and jax.process_count() > 1:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(stopped.code)
  sys.exit(stopped.code)


def _require(names: tuple[str, ...], *, because: str = '') -> None:
  """Raises UserError if an environment variable is missing."""
  missing = [name for name in names if not os.environ.get(name)]
  if not missing:
    return
  if not because:
    present = next(name for name in names if name in os.environ)
    because = f'{present} = {os.environ[present]}'
  own = f'set {", ".join(_OWN)}' if names is not _OWN else 'set it'
  remedy = f'{own}, or unset {because.split(" ")[0]}'
  raise UserError(f'the environment variable {missing[0]} is missing with {because}; {remedy}')


def _number(name: str, *, least: int = 0) -> int:
  """The value of an environment variable that is a number."""
  text = os.environ[name]
  if not text.isdecimal() or int(text) < least:
    raise UserError(f"the environment variable {name} = '{text}' must be an integer of at least {least}")
  return int(text)


def _is_tpu_vm() -> bool:
  chips = glob.glob('/dev/accel*') + glob.glob('/dev/vfio/[0-9]*')
  wanted = os.environ.get('JAX_PLATFORMS', 'tpu').split(',')
  return bool(chips) and 'tpu' in wanted and importlib.util.find_spec('libtpu') is not None
