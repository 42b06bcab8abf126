"""Two processes with four devices each equal a run in one process, also after SIGTERM to one of them.

They equal it on other meshes too, which continue each other's checkpoints.
"""

import fcntl
import json
import socket
import subprocess
import time

import pytest

from tests import toy
from tests.program import STEPS, Program, Workdir, checkpoint_steps, last_step, metrics, results

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LANES = (
  '--config.train.batch_size=8',
  '--config.evaluation.batch_size=8',
  '--config.data.tokenizer=bpe:280',  # The first process trains it.
)
TOLERANCE = 1e-5
"""Tolerance for losses of one and several processes, which differ only in the order of sums."""


def on_mesh(data: int, fsdp: int, tensor: int) -> tuple[str, ...]:
  """The flags of a mesh."""
  sizes = {'data': data, 'fsdp': fsdp, 'tensor': tensor}
  return tuple(f'--config.train.mesh.{name}={size}' for name, size in sizes.items())


def start(
  program: Program,
  workdir: Workdir,
  *flags: str,
  devices: int = 4,
  kilobytes: int | None = None,
  **variables: str,
) -> list[subprocess.Popen]:
  """Starts both processes, with so many devices each. Files of the first one are limited to `kilobytes`."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  environment = variables | {
    'JAX_COORDINATOR_ADDRESS': address,
    'JAX_NUM_PROCESSES': '2',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0',
    'NPROC': toy.THREADS,
  }
  return [
    program.start(workdir, *LANES, *flags, **environment, JAX_PROCESS_ID=str(index), kilobytes=limit)
    for index, limit in enumerate((kilobytes, None))
  ]


def finish(processes: list[subprocess.Popen], code: int) -> list[tuple[str, str]]:
  outputs = [process.communicate() for process in processes]
  assert {process.returncode for process in processes} == {code}, outputs
  return outputs


def losses(workdir: Workdir) -> list[tuple[int, str, float]]:
  return [(line['step'], line['split'], line['loss_nats_per_token']) for line in metrics(workdir)]


def test_two_processes_stop_together_resume_and_have_the_results_of_one(place, tmp_path):
  program = Program(tmp_path)
  program.run(tmp_path / 'one', *LANES)

  workdir = place / 'two'
  processes = start(program, workdir)
  while last_step(workdir) < 8:
    assert all(process.poll() is None for process in processes)
    time.sleep(0.01)
  processes[1].terminate()
  finish(processes, code=143)
  stopped = checkpoint_steps(workdir)[-1]
  assert 8 <= stopped < STEPS

  first, second = finish(start(program, workdir), code=0)
  assert f'resuming from checkpoint {stopped}\n' in first[0]
  assert 'resuming' not in second[0]  # Only process 0 prints and writes.
  for mine, theirs in zip(losses(workdir), losses(tmp_path / 'one'), strict=True):
    assert mine[:2] == theirs[:2]
    assert mine[2] == pytest.approx(theirs[2], rel=0, abs=TOLERANCE)
  for view in ('memory', 'emptied'):
    loss = results(tmp_path / 'one')[view]['loss_nats_per_token']
    assert results(workdir)[view]['loss_nats_per_token'] == pytest.approx(loss, rel=0, abs=TOLERANCE)
  assert json.loads((workdir / 'results.json').read_text())['step'] == STEPS


@pytest.mark.parametrize('kind', ['none', 'recent', 'compressive', 'neighbours', 'continuous', 'stacked'])
def test_two_processes_with_four_devices_have_the_losses_of_one_device(kind, tmp_path):
  program = Program(tmp_path)
  length = f'segment_length={toy.LENGTH}, short_term_length={toy.LENGTH}'
  text = program.config.read_text().replace('segment_length=16, short_term_length=16', length)
  config = tmp_path / f'{kind}.py'
  config.write_text(f'{text}\nfrom tests import toy\nContinuousConfig = lambda **_: toy.MEMORIES["{kind}"]\n')
  flags = f'--config={config}', '--config.train.num_steps=20'
  program.run(tmp_path / 'one', *LANES, *flags)
  finish(start(program, tmp_path / 'two', *flags, *on_mesh(2, 2, 2)), code=0)
  for mine, theirs in zip(losses(tmp_path / 'two'), losses(tmp_path / 'one'), strict=True):
    assert mine[:2] == theirs[:2]
    assert mine[2] == pytest.approx(theirs[2], rel=0, abs=TOLERANCE)


def test_meshes_of_one_and_two_processes_continue_each_other_and_have_the_results_of_one_device(tmp_path):
  program, workdir = Program(tmp_path), tmp_path / 'mixed'
  program.run(tmp_path / 'one', *LANES)

  def stopped(processes: list[subprocess.Popen], after: int) -> None:
    """Sends SIGTERM to the first process after some steps, and waits for all of them."""
    while last_step(workdir) < after:
      assert all(process.poll() is None for process in processes)
      time.sleep(0.01)
    processes[0].terminate()
    finish(processes, code=143)

  eight = {'XLA_FLAGS': '--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0'} | {
    'NPROC': toy.THREADS
  }
  stopped(start(program, workdir, *on_mesh(2, 2, 2)), after=4)
  stopped([program.start(workdir, *LANES, *on_mesh(1, 4, 2), **eight)], after=12)
  stopped(start(program, workdir, *on_mesh(1, 8, 1)), after=20)
  out, err = program.start(workdir, *LANES, *on_mesh(4, 1, 2), **eight).communicate()
  assert 'everything is in' in out, err
  for mine, theirs in zip(losses(workdir), losses(tmp_path / 'one'), strict=True):
    assert mine[:2] == theirs[:2]
    assert mine[2] == pytest.approx(theirs[2], rel=0, abs=TOLERANCE)
  for view in ('memory', 'emptied'):  # One document: there is no other memory to exchange with.
    loss = results(tmp_path / 'one')[view]['loss_nats_per_token']
    assert results(workdir)[view]['loss_nats_per_token'] == pytest.approx(loss, rel=0, abs=TOLERANCE)

  # The same model, evaluated on one device.
  out, err = program.start(workdir, *LANES, *on_mesh(1, 1, 1), '--mode=eval', '--name=alone').communicate()
  alone = json.loads((workdir / 'results_alone.json').read_text())
  loss = results(workdir)['memory']['loss_nats_per_token']
  assert alone['memory']['loss_nats_per_token'] == pytest.approx(loss, rel=0, abs=TOLERANCE)

  # Another run starts from its parameters, on another mesh again.
  new = tmp_path / 'new', *LANES, *on_mesh(-1, 2, 2), f'--config.init_from={workdir}'
  out, err = program.start(*new, '--config.train.num_steps=2', **eight).communicate()
  assert f'starting from the parameters of {workdir} after step {STEPS}' in out, err
  assert 'everything is in' in out, err


def test_a_mesh_that_does_not_fit_is_refused_before_anything_is_read(tmp_path):
  program = Program(tmp_path)
  _, err = program.run(tmp_path / 'work', *LANES, *on_mesh(1, 3, 1), code=2)
  assert 'fsdp 3' in err
  assert 'the number of devices, 1' in err
  assert not (tmp_path / 'work' / 'data.json').exists()


def test_both_processes_end_with_one_line_if_another_run_holds_the_work_directory(tmp_path):
  program, workdir = Program(tmp_path), tmp_path / 'work'
  workdir.mkdir()
  with open(workdir / 'lock', 'a') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    outputs = finish(start(program, workdir), code=2)
  line = f'error: another run is training in {workdir}; wait until it ends, or use another --workdir\n'
  assert [err for _, err in outputs] == [line, line]


def test_a_full_disk_of_one_process_ends_both_with_its_line(tmp_path):
  program = Program(tmp_path)
  processes = start(program, tmp_path / 'work', kilobytes=16)  # Less than a checkpoint, and than a plot.
  # One of them may say before that it waits for the other, which writes the cache of tokens.
  first, second = (err.splitlines()[-1] for _, err in finish(processes, code=1))
  assert first.startswith('stopped: ')
  assert 'File too large' in first
  assert second == f'process 0 on {socket.gethostname()}: {first}'
