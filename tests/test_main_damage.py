"""Damage to each file of the last checkpoint of a real run, by one process or by two."""

import pathlib
import re
import shutil

import chex
import jax
import pytest

from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.orbax_log import silence_orbax
from tests.bits import bits
from tests.program import STEPS, Program, arrays, assert_same
from tests.test_main_several_processes import finish, on_mesh, start
from tests.train.test_checkpoint import damage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HOWS = 'deleted', 'truncated', 'zeroed'
# Two processes on CPUs need seconds per step.
SHARDED = (
  *on_mesh(1, 4, 1),
  '--config.train.num_steps=4',
  '--config.train.checkpoint_every=2',
  '--config.train.evaluate_every=100',
)


@pytest.fixture(autouse=True, scope='module')
def _no_log_of_orbax():
  silence_orbax()


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> Program:
  return Program(tmp_path_factory.mktemp('program'))


@pytest.fixture(scope='module')
def sharded(program, tmp_path_factory) -> pathlib.Path:
  """The work directory of a run of two processes with two devices each, over which parameters are split."""
  workdir = tmp_path_factory.mktemp('sharded') / 'work'
  finish(start(program, workdir, *SHARDED, devices=2), code=0)
  return workdir


def files(workdir: pathlib.Path, step: int) -> list[pathlib.Path]:
  """The files of a checkpoint, relative to the work directory."""
  every = (workdir / f'checkpoints/{step}').rglob('*')
  return sorted(path.relative_to(workdir) for path in every if path.is_file())


def assert_never_a_wrong_start(workdir: pathlib.Path, steps: tuple[int, int], how: str, folder: pathlib.Path):
  """Damages each file of the second of two checkpoints, and restores what they hold on one device."""
  saved, fell_back = {step: arrays(workdir, step) for step in steps}, 0
  like = {key: jax.ShapeDtypeStruct(array.shape, array.dtype) for key, array in saved[steps[1]].items()}
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  damaged = files(workdir, steps[1])
  for number, file in enumerate(damaged):
    copy = folder / str(number)
    shutil.copytree(workdir / 'checkpoints', copy / 'checkpoints')
    damage(copy / file, how)
    warned: list[str] = []
    state, run = Checkpoints(copy / 'checkpoints', warn=warned.append).restore(
      like, dict.fromkeys(like, place)
    )
    step = run['data_position']
    chex.assert_trees_all_equal(bits(state), bits(saved[step]), custom_message=str(file))
    assert len(warned) == (step == steps[0])
    assert all(line.endswith(f'; falling back to checkpoint {steps[0]}') for line in warned)
    fell_back += step == steps[0]
  assert fell_back > 0
  print(f'{len(damaged)} files {how}: {fell_back} times the previous checkpoint')


@pytest.mark.parametrize('how', HOWS)
def test_damage_to_any_file_of_the_last_checkpoint_never_starts_a_wrong_run(undisturbed, tmp_path, how):
  assert_never_a_wrong_start(undisturbed, (28, STEPS), how, tmp_path)


@pytest.mark.parametrize('how', HOWS)
def test_damage_to_any_file_that_two_processes_wrote_never_starts_a_wrong_run(sharded, tmp_path, how):
  assert {'ocdbt.process_0', 'ocdbt.process_1'} <= {part for file in files(sharded, 4) for part in file.parts}
  assert_never_a_wrong_start(sharded, (2, 4), how, tmp_path)


def damage_what_one_process_reads(workdir: pathlib.Path, step: int, how: str) -> None:
  """Damages what process 1 wrote: its shards, which process 0 does not read."""
  for file in files(workdir, step):
    if file.parts[3:5] == ('ocdbt.process_1', 'd'):  # All, because half of one may be obsolete.
      damage(workdir / file, how)


@pytest.mark.parametrize('how', HOWS)
def test_both_processes_fall_back_where_one_cannot_read_its_shards(program, sharded, tmp_path, how):
  workdir = shutil.copytree(sharded, tmp_path / 'work')
  damage_what_one_process_reads(workdir, 4, how)
  (first, first_err), (second, second_err) = finish(start(program, workdir, *SHARDED, devices=2), code=0)
  reason = r'checkpoint 4 is damaged \(.*\); falling back to checkpoint 2\n'
  assert re.search(reason, first + first_err)
  assert 'resuming from checkpoint 2\n' in first
  assert 'damaged' not in second + second_err
  assert_same(workdir, sharded, step=4)


def test_both_processes_end_with_one_line_where_one_cannot_read_any_checkpoint(program, sharded, tmp_path):
  workdir = shutil.copytree(sharded, tmp_path / 'work')
  for step in (2, 4):
    damage_what_one_process_reads(workdir, step, 'deleted')
  for _, err in finish(start(program, workdir, *SHARDED, devices=2), code=2):
    assert re.fullmatch(
      r'error: no checkpoint in .* is intact \(4: .*; 2: .*\); use another --workdir\n', err
    ), err
