"""Damage to each file of the last checkpoint of a real run."""

import shutil

import chex
import jax
import pytest

from infformer_jax.train.checkpoint import Checkpoints
from tests.bits import bits
from tests.program import STEPS, Program, arrays
from tests.train.test_checkpoint import damage

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> Program:
  return Program(tmp_path_factory.mktemp('program'))


@pytest.mark.parametrize('how', ['deleted', 'truncated', 'zeroed'])
def test_damage_to_any_file_of_the_last_checkpoint_never_starts_a_wrong_run(undisturbed, tmp_path, how):
  saved, fell_back = {step: arrays(undisturbed, step) for step in (28, STEPS)}, 0
  like = {key: jax.ShapeDtypeStruct(array.shape, array.dtype) for key, array in saved[STEPS].items()}
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  files = [path for path in (undisturbed / f'checkpoints/{STEPS}').rglob('*') if path.is_file()]
  for number, file in enumerate(files):
    checkpoints = shutil.copytree(undisturbed / 'checkpoints', tmp_path / str(number))
    damage(checkpoints / file.relative_to(undisturbed / 'checkpoints'), how)
    warned: list[str] = []
    state, run = Checkpoints(checkpoints, warn=warned.append).restore(like, dict.fromkeys(like, place))
    step = run['data_position']
    chex.assert_trees_all_equal(bits(state), bits(saved[step]), custom_message=str(file))
    assert len(warned) == (step == 28)
    assert all(line.endswith('; falling back to checkpoint 28') for line in warned)
    fell_back += step == 28
  assert fell_back > 0
  print(f'{len(files)} files {how}: {fell_back} times the previous checkpoint')
