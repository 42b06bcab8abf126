"""The conditions for joining other processes, and what is passed on."""

import socket

import pytest

from infformer_jax.errors import UnavailableError, UserError
from infformer_jax.train import joined, processes

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
SECONDS = {'INFFORMER_PEER_SECONDS': '9', 'INFFORMER_GRACE_SECONDS': '8'}


@pytest.fixture
def calls(monkeypatch) -> list:
  """The number and index of every call of `join`. No variable of processes is set."""
  for name in (*CONFIGURED, *SLURM, *MPI, *SECONDS):
    monkeypatch.delenv(name, raising=False)
  made: list = []
  monkeypatch.setattr(joined, 'join', lambda count, index, **seconds: made.append((count, index)))
  return made


@pytest.mark.parametrize(
  ('environment', 'arguments'),
  [
    ({}, []),
    ({'SLURM_STEP_NUM_TASKS': '1'}, []),
    ({'OMPI_COMM_WORLD_SIZE': '1'}, []),
    (SLURM, [(None, None)]),
    (SLURM | {'JAX_COORDINATOR_ADDRESS': 'host:1'}, [(None, None)]),
    (MPI, [(None, None)]),
    (CONFIGURED, [(3, 2)]),
    (SLURM | CONFIGURED, [(3, 2)]),
  ],
)
def test_processes_are_joined_if_the_environment_requests_it(monkeypatch, calls, environment, arguments):
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  processes.initialize()
  assert calls == arguments


@pytest.mark.parametrize(('environment', 'seconds'), [({}, (60, 30)), (SECONDS, (9, 8))])
def test_times_are_variables_of_the_environment(monkeypatch, calls, environment, seconds):
  for name, value in (CONFIGURED | environment).items():
    monkeypatch.setenv(name, value)
  given = []
  monkeypatch.setattr(joined, 'join', lambda *_, timeout, grace: given.append((timeout, grace)))
  processes.initialize()
  assert given == [seconds]


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
    ({'INFFORMER_GRACE_SECONDS': '0'}, "INFFORMER_GRACE_SECONDS = '0' must be an integer of at least 1"),
  ],
)
def test_a_variable_that_is_not_a_number_in_its_range_is_refused(monkeypatch, calls, change, message):
  for name, value in (CONFIGURED | change).items():
    monkeypatch.setenv(name, value)
  with pytest.raises(UserError, match=message):
    processes.initialize()
  assert calls == []


@pytest.mark.parametrize('address', ['host', 'host:', ':1', 'host:port', 'host:0', 'host:65536', 'host:-1'])
def test_an_address_without_host_or_port_is_refused(monkeypatch, calls, address):
  for name, value in (CONFIGURED | {'JAX_COORDINATOR_ADDRESS': address}).items():
    monkeypatch.setenv(name, value)
  with pytest.raises(UserError, match=f"JAX_COORDINATOR_ADDRESS = '{address}' must be host:port"):
    processes.initialize()
  assert calls == []


def test_a_port_in_use_is_refused_by_the_process_that_listens_there(monkeypatch, calls):
  with socket.create_server(('', 0)) as server:
    address = f'localhost:{server.getsockname()[1]}'
    for name, value in (CONFIGURED | {'JAX_COORDINATOR_ADDRESS': address}).items():
      monkeypatch.setenv(name, value)
    processes.initialize()
    monkeypatch.setenv('JAX_PROCESS_ID', '0')
    with pytest.raises(
      UnavailableError,
      match=f"'{address}': process 0 cannot listen at port .* [(]Address already in use[)]; use another port",
    ):
      processes.initialize()
    assert calls == [(3, 2)]
  processes.initialize()
  assert calls == [(3, 2), (3, 0)]


@pytest.mark.parametrize('launcher', [SLURM, MPI, SLURM | CONFIGURED], ids=['slurm', 'mpi', 'configured'])
@pytest.mark.parametrize(
  ('gpus', 'count', 'refused'),
  [
    ('0,1,2,3', '1', True),  # one process per node, each of which would use one GPU of four
    ('0,1,2,3', '4', False),
    ('0', '4', True),  # SLURM has given each process one GPU; JAX would ask for others
    ('0', '1', False),
    ('', '4', False),
  ],
)
def test_gpus_that_would_not_be_used_are_refused(monkeypatch, calls, launcher, gpus, count, refused):
  tasks = {'SLURM_STEP_TASKS_PER_NODE': f'{count}(x2),1', 'OMPI_COMM_WORLD_LOCAL_SIZE': count}
  for name, value in (launcher | tasks | {'CUDA_VISIBLE_DEVICES': gpus}).items():
    monkeypatch.setenv(name, value)
  if launcher is MPI:
    monkeypatch.delenv('SLURM_STEP_TASKS_PER_NODE')
  monkeypatch.delenv('JAX_PLATFORMS')
  if refused:
    with pytest.raises(
      UserError, match=f'sees {len(gpus.split(","))} GPUs .*: set JAX_LOCAL_DEVICE_IDS={gpus} '
    ):
      processes.initialize()
    assert calls == []
    monkeypatch.setenv('JAX_LOCAL_DEVICE_IDS', '0')
    processes.initialize()
    monkeypatch.delenv('JAX_LOCAL_DEVICE_IDS')
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  processes.initialize()
  assert len(calls) == 1 + refused


def test_gpus_are_counted_by_slurm_or_in_dev(monkeypatch):
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  monkeypatch.setattr(processes.glob, 'glob', lambda pattern: ['/dev/nvidia0', '/dev/nvidia1'])
  monkeypatch.delenv('SLURM_GPUS_ON_NODE', raising=False)
  assert processes._visible_gpus() == 2
  monkeypatch.setenv('SLURM_GPUS_ON_NODE', '8')
  assert processes._visible_gpus() == 8


def test_a_single_process_in_a_job_of_several_nodes_is_a_warning(monkeypatch, calls, capsys):
  monkeypatch.setenv('SLURM_JOB_NUM_NODES', '2')
  processes.initialize()
  assert capsys.readouterr().err == (
    'warning: the job has 2 nodes, and only this one is used; start the command with srun\n'
  )
  monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '1')  # srun -n 1
  processes.initialize()
  assert capsys.readouterr().err == ''
  assert calls == []
