"""Runs of several processes: the hosts of a TPU pod, the tasks of `srun` or `mpirun`, or as configured."""

import glob
import importlib.util
import os
import re
import socket
import sys

from infformer_jax.errors import UnavailableError, UserError
from infformer_jax.train import joined

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
_SECONDS = {'INFFORMER_PEER_SECONDS': 60, 'INFFORMER_GRACE_SECONDS': 30}


def initialize() -> None:
  """Joins the other processes, if there are any. Must be called before JAX is used.

  The variables JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID describe them. In a
  task of SLURM or MPI, or on a TPU VM, JAX determines them. INFFORMER_PEER_SECONDS (60): a process from which
  nothing was heard for this time is dead, and the others end. INFFORMER_GRACE_SECONDS (30): after SIGTERM the
  processes end, even if they have not reached a common step, after which they save.

  Raises:
    UserError: a variable is missing, or not a number in its range; or GPUs would not be used.
    UnavailableError: this is process 0, and its port is in use.
  """
  launcher = next((count for count in _LAUNCHERS if count in os.environ and _number(count) > 1), None)
  if 'JAX_NUM_PROCESSES' in os.environ or 'JAX_PROCESS_ID' in os.environ:
    _require(_OWN)
    count, index = _number('JAX_NUM_PROCESSES', least=1), _number('JAX_PROCESS_ID')
    if index >= count:
      raise UserError(f'JAX_PROCESS_ID = {index} must be less than JAX_NUM_PROCESSES = {count}')
    _check_address(serves=index == 0)
    _check_gpus()
    _join(count, index)
  elif launcher is not None:
    _require(_LAUNCHERS[launcher], because=f'{launcher} = {os.environ[launcher]}')
    _check_gpus()
    _join()
  elif _is_tpu_vm():
    _join()
  elif 'JAX_COORDINATOR_ADDRESS' in os.environ:
    _require(_OWN)
  elif (
    'SLURM_STEP_NUM_TASKS' not in os.environ and (nodes := os.environ.get('SLURM_JOB_NUM_NODES', '1')) != '1'
  ):
    print(
      f'warning: the job has {nodes} nodes, and only this one is used; start the command with srun',
      file=sys.stderr,
    )


def _join(count: int | None = None, index: int | None = None) -> None:
  seconds = {
    name: _number(name, least=1) if name in os.environ else default for name, default in _SECONDS.items()
  }
  joined.join(
    count, index, timeout=seconds['INFFORMER_PEER_SECONDS'], grace=seconds['INFFORMER_GRACE_SECONDS']
  )


def _check_address(*, serves: bool) -> None:
  """Raises UserError where JAX would crash or wait because of the coordinator's address.

  Args:
    serves: whether this process is the coordinator, which listens at its port.
  """
  address = os.environ[_OWN[0]]
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
    raise UserError(f"the environment variable {_OWN[0]} = '{address}' must be host:port, as in node0:12345")
  if serves:
    ipv6 = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    try:
      socket.create_server(('', int(port)), family=family, dualstack_ipv6=ipv6).close()
    except OSError as error:
      reason = os.strerror(error.errno or 0)  # That of the error also has the address.
      problem = f'process 0 cannot listen at port {port} ({reason})'
      raise UnavailableError(
        f"the environment variable {_OWN[0]} = '{address}': {problem}; use another port in all processes"
      ) from None


def _check_gpus() -> None:
  """Raises UserError unless each process of SLURM or MPI is to have one GPU, or says itself which it has.

  JAX gives such a process the GPU whose number is that of the process on its node, and no other one
  (jax/_src/clusters/cluster.py).
  """
  platforms = os.environ.get('JAX_PLATFORMS')
  launcher = next(
    (all_of for all_of in _LAUNCHERS.values() if all(name in os.environ for name in all_of)), None
  )
  if (platforms and not {'cuda', 'rocm', 'gpu'} & {*platforms.split(',')}) or launcher is None:
    return
  if 'JAX_LOCAL_DEVICE_IDS' in os.environ or _is_tpu_vm():
    return
  # SLURM's number is that of each node, as in 8(x3),4.
  text = os.environ.get('SLURM_STEP_TASKS_PER_NODE') or os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE') or ''
  processes, gpus = max(map(int, re.findall(r'(?:^|,)(\d+)', text)), default=0), _visible_gpus()
  if not processes or not gpus or processes == gpus:
    return
  problem = (
    f'a process sees {gpus} GPUs and is one of {processes} on its node; JAX would give each process one GPU'
  )
  every = ','.join(map(str, range(gpus)))
  remedy = f'set JAX_LOCAL_DEVICE_IDS={every} if a process has all that it sees, or start one process per GPU'
  raise UserError(f'{problem}, by its number: {remedy}')


def _visible_gpus() -> int:
  visible = os.environ.get('CUDA_VISIBLE_DEVICES')
  if visible is not None:
    return len([gpu for gpu in visible.split(',') if gpu])
  on_node = os.environ.get('SLURM_GPUS_ON_NODE', '')
  return int(on_node) if on_node.isdecimal() else len(glob.glob('/dev/nvidia[0-9]*'))


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
