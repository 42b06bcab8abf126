"""Checkpoints: everything comes back bit for bit, and nothing damaged is taken for good."""

import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.errors import UserError
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.checksum import checksum, described, digest
from infformer_jax.train.orbax_log import hush_orbax

RUN = {'data_position': 3, 'totals': {'loss': [0.1, 3.0]}, 'best': None}


@pytest.fixture(autouse=True, scope='module')
def _no_log_of_orbax():
  hush_orbax()


def tree(value: float = 1.0) -> dict:
  """Every kind of leaf: bfloat16, a key, size zero, scalars, nothing."""
  rng = np.random.default_rng(0)
  return {
    'params': {
      'w': jnp.asarray(value * rng.normal(size=(40, 30)), jnp.float32),
      'layers': {0: {'b': jnp.ones(3)}},
    },
    'memory': (jnp.full((4, 2), value, jnp.bfloat16), (), jnp.zeros((4, 0))),
    'step': jnp.int32(value),
    'key': jax.random.key(7),
    'finite': jnp.bool_(True),
  }


def here(like):
  return jax.tree.map(lambda _: jax.sharding.SingleDeviceSharding(jax.devices()[0]), like)


def shapes(like):
  return jax.eval_shape(lambda: like)


def bits(like) -> list[bytes]:
  leaves = [
    jax.random.key_data(x) if x.dtype == jax.random.key(0).dtype else x for x in jax.tree.leaves(like)
  ]
  return [np.asarray(leaf).tobytes() for leaf in leaves]


def restore(directory: pathlib.Path, like=None, warn=pytest.fail):
  like = shapes(tree()) if like is None else like
  return Checkpoints(directory, warn=warn).restore(like, here(like))


@pytest.fixture(scope='module')
def saved(tmp_path_factory) -> pathlib.Path:
  """Checkpoints 1, 2, 3, of which the first is the best."""
  directory = tmp_path_factory.mktemp('saved') / 'checkpoints'
  checkpoints = Checkpoints(directory, warn=pytest.fail)
  for step in (0, 1, 2, 3):
    checkpoints.save(step, tree(step), RUN | {'data_position': step}, best=1 if step else None)
  checkpoints.wait()
  return directory


@pytest.fixture
def copied(saved, tmp_path) -> pathlib.Path:
  return shutil.copytree(saved, tmp_path / 'checkpoints')


def test_everything_comes_back_bit_for_bit(saved):
  state, run = restore(saved)
  assert jax.tree.structure(state) == jax.tree.structure(tree())
  assert bits(state) == bits(tree(3))
  assert [leaf.dtype for leaf in jax.tree.leaves(state)] == [leaf.dtype for leaf in jax.tree.leaves(tree())]
  assert run == RUN


def test_the_newest_two_and_the_best_are_kept(saved):
  assert Checkpoints(saved, warn=pytest.fail).steps() == [1, 2, 3]


def test_a_step_can_be_asked_for_and_no_other_comes_instead(copied):
  checkpoints = Checkpoints(copied, warn=pytest.fail)
  like = shapes(tree())
  places = here(like)
  state, run = checkpoints.restore(like, places, step=1)
  assert bits(state) == bits(tree(1))
  assert run['data_position'] == 1
  with pytest.raises(UserError, match='has no checkpoint 7, only 1, 2, 3$'):
    checkpoints.restore(like, places, step=7)
  damage(copied / '3' / 'meta' / 'metadata', 'deleted')
  with pytest.raises(UserError, match='is damaged .3: .*; take another step$'):
    checkpoints.restore(like, places, step=3)


def test_a_part_can_be_restored_alone(saved):
  params, _ = restore(saved, shapes({'params': tree()['params']}))
  assert bits(params) == bits(tree(3)['params'])


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path):
  assert restore(tmp_path / 'none') is None
  assert not (tmp_path / 'none').exists()


def test_other_shapes_are_refused_by_name(saved):
  like = shapes(tree()) | {'step': jax.ShapeDtypeStruct((2,), jnp.int32)}
  with pytest.raises(UserError, match=r'step is int32\[2\] here and int32\[\] there'):
    restore(saved, like)
  with pytest.raises(UserError, match=r'new is float32\[\] here and no such array there'):
    restore(saved, shapes({'new': jnp.zeros(())}))


def damage(file: pathlib.Path, how: str) -> None:
  content = bytearray(file.read_bytes())
  if how == 'deleted':
    file.unlink()
  elif how == 'truncated':
    file.write_bytes(content[: len(content) // 2])
  elif how == 'emptied':
    file.write_bytes(b'')
  else:
    bit = np.random.default_rng(len(content)).integers(8 * len(content))
    content[bit // 8] ^= 1 << (bit % 8)
    file.write_bytes(content)


@pytest.mark.parametrize('how', ['deleted', 'truncated', 'emptied', 'one bit flipped'])
def test_whatever_file_is_damaged_nothing_wrong_comes_back(saved, tmp_path, how, capfd):
  fell_back = set()
  for number, original in enumerate(path for path in sorted((saved / '3').rglob('*')) if path.is_file()):
    name, directory = original.relative_to(saved), tmp_path / str(number)
    shutil.copytree(saved, directory)
    damage(directory / name, how)
    warnings: list[str] = []
    state, run = restore(directory, warn=warnings.append)
    assert bits(state) == bits(tree(run['data_position'])), name
    assert len(warnings) == (run['data_position'] == 2), name
    if warnings:
      assert warnings[0].startswith('checkpoint 3 is damaged (')
      assert warnings[0].endswith('; going back to checkpoint 2')
      fell_back.add(name.parts[1])
  assert fell_back == {'state', 'meta'}
  assert capfd.readouterr().err == ''  # One line is enough.


def test_two_swapped_arrays_are_noticed(copied):
  """What a checksum of each file would not see: the arrays are intact, and in the wrong place."""
  checkpoints = Checkpoints(copied, warn=pytest.fail)
  swapped = tree(3)
  swapped['params']['w'] = swapped['params']['w'][::-1]
  checkpoints.save(4, swapped, RUN, best=2)
  checkpoints.wait()
  shutil.rmtree(copied / '3' / 'state')
  shutil.copytree(copied / '4' / 'state', copied / '3' / 'state')
  shutil.rmtree(copied / '4')
  warnings: list[str] = []
  _, run = restore(copied, warn=warnings.append)
  assert run['data_position'] == 2
  assert warnings == ['checkpoint 3 is damaged (params/w); going back to checkpoint 2']


def test_without_an_intact_checkpoint_there_is_a_clear_error(copied):
  for step in (1, 2, 3):
    damage(copied / str(step) / 'state' / 'manifest.ocdbt', 'truncated')
  with pytest.raises(UserError, match=r'no checkpoint in .* is intact \(3: .*; 2: .*; 1: .*\)'):
    restore(copied)


def test_a_damaged_checkpoint_is_moved_aside_when_the_run_saves_again(copied):
  damage(copied / '3' / 'meta' / 'metadata', 'one bit flipped')
  checkpoints = Checkpoints(copied, warn=lambda _: None)
  like = shapes(tree())
  _, run = checkpoints.restore(like, here(like))
  assert checkpoints.steps() == [1, 2, 3]  # Whoever only reads changes nothing.
  checkpoints.save(3, tree(3), run, best=1)
  checkpoints.wait()
  assert (copied / '3.damaged').is_dir()
  state, _ = restore(copied)
  assert bits(state) == bits(tree(3))


def test_a_step_that_is_there_is_left_alone(copied):
  checkpoints = Checkpoints(copied, warn=pytest.fail)
  checkpoints.save(3, tree(5), RUN, best=1)
  checkpoints.wait()
  assert bits(restore(copied)[0]) == bits(tree(3))


def test_reading_leaves_a_half_written_checkpoint_to_its_writer(copied):
  partial = copied / '4.orbax-checkpoint-tmp'
  partial.mkdir()
  assert restore(copied)[1]['data_position'] == 3
  assert partial.is_dir()
  Checkpoints(copied, warn=pytest.fail).save(5, tree(5), RUN, best=None)
  assert not partial.exists()


def test_what_a_kill_has_left_of_an_old_checkpoint_is_removed(copied):
  (copied / '1' / '_CHECKPOINT_METADATA').unlink()
  shutil.rmtree(copied / '1' / 'state')
  checkpoints = Checkpoints(copied, warn=pytest.fail)
  checkpoints.save(4, tree(4), RUN, best=None)
  checkpoints.wait()
  assert checkpoints.steps() == [3, 4]


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int32', 'uint8', 'bool'])
def test_every_single_bit_changes_the_checksum(dtype):
  rng = np.random.default_rng(0)
  x = np.asarray(jnp.asarray(rng.integers(0, 2, size=(3, 5)), dtype))
  before = np.asarray(checksum(x)).tolist()
  raw = x.tobytes()
  for bit in range(8 * len(raw)) if dtype != 'bool' else range(0, 8 * len(raw), 8):
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << (bit % 8)
    after = np.asarray(checksum(np.frombuffer(bytes(flipped), x.dtype).reshape(x.shape))).tolist()
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_a_checksum_sees_order_and_shape_is_beside_it():
  x = jnp.arange(12.0).reshape(3, 4)
  assert described({'x': x}) != described({'x': x[::-1]})
  assert described({'x': x}) != described({'x': x.reshape(4, 3)})
  assert described({'x': x})['x'].startswith('float32[3,4] ')


def test_a_digest_does_not_depend_on_the_order_of_keys():
  assert digest({'a': 1, 'b': [0.1]}) == digest({'b': [0.1], 'a': 1})
  assert digest({'a': 1}) != digest({'a': 2})
