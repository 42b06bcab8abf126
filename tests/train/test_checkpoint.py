"""Checkpoints: all values are restored bit for bit, and damage is always detected."""

import pathlib
import re
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from infformer_jax.errors import UserError
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.orbax_log import silence_orbax
from tests.bits import bits

RUN = {'data_position': 3, 'totals': {'loss': [0.1, 3.0]}, 'best': None}


@pytest.fixture(autouse=True, scope='module')
def _no_log_of_orbax():
  silence_orbax()


def tree(value: float = 1.0) -> dict:
  """A tree with every kind of leaf: bfloat16, a key, an empty array, scalars, None."""
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


def restore(directory: pathlib.Path, like=None, warn=pytest.fail):
  like = shapes(tree()) if like is None else like
  return Checkpoints(directory, warn=warn).restore(like, here(like))


@pytest.fixture(scope='module')
def saved(tmp_path_factory) -> pathlib.Path:
  """A directory with the checkpoints 1, 2 and 3; checkpoint 1 is the best."""
  directory = tmp_path_factory.mktemp('saved') / 'checkpoints'
  checkpoints = Checkpoints(directory, warn=pytest.fail)
  for step in (0, 1, 2, 3):
    checkpoints.save(step, tree(step), RUN | {'data_position': step}, best=1 if step else None)
  checkpoints.wait()
  return directory


@pytest.fixture
def copied(saved, tmp_path) -> pathlib.Path:
  return shutil.copytree(saved, tmp_path / 'checkpoints')


def test_all_values_are_restored_bit_for_bit(saved):
  state, run = restore(saved)
  chex.assert_trees_all_equal_shapes_and_dtypes(state, tree())
  chex.assert_trees_all_equal(bits(state), bits(tree(3)))
  assert run == RUN


def test_the_newest_two_and_the_best_are_kept(saved):
  assert Checkpoints(saved, warn=pytest.fail).steps() == [1, 2, 3]


def test_only_the_requested_step_is_restored(copied):
  checkpoints = Checkpoints(copied, warn=pytest.fail)
  like = shapes(tree())
  places = here(like)
  state, run = checkpoints.restore(like, places, step=1)
  chex.assert_trees_all_equal(bits(state), bits(tree(1)))
  assert run['data_position'] == 1
  with pytest.raises(UserError, match=r'step = 7: .* has no checkpoint 7 \(available: 1, 2, 3\)$'):
    checkpoints.restore(like, places, step=7)
  damage(copied / '3' / 'meta' / 'metadata', 'deleted')
  with pytest.raises(UserError, match='is damaged .3: .*; use another step$'):
    checkpoints.restore(like, places, step=3)


def test_a_part_of_the_tree_can_be_restored(saved):
  params, _ = restore(saved, shapes({'params': tree()['params']}))
  chex.assert_trees_all_equal(bits(params), bits({'params': tree(3)['params']}))


def test_without_checkpoints_restoring_returns_none(tmp_path):
  assert restore(tmp_path / 'none') is None
  assert not (tmp_path / 'none').exists()


def test_mismatched_shapes_are_rejected_by_name(saved):
  like = shapes(tree()) | {'step': jax.ShapeDtypeStruct((2,), jnp.int32)}
  with pytest.raises(UserError, match=r'step is int32\[\] in the checkpoint, int32\[2\] in the model'):
    restore(saved, like)
  with pytest.raises(UserError, match=r'new is missing in the checkpoint, float32\[\] in the model'):
    restore(saved, shapes({'new': jnp.zeros(())}))


def damage(file: pathlib.Path, how: str) -> None:
  content = bytearray(file.read_bytes())
  if how == 'deleted':
    file.unlink()
  elif how == 'truncated':
    file.write_bytes(content[: len(content) // 2])
  elif how == 'emptied':
    file.write_bytes(b'')
  elif how == 'zeroed':
    file.write_bytes(bytes(len(content)))
  else:
    bit = np.random.default_rng(len(content)).integers(8 * len(content))
    content[bit // 8] ^= 1 << (bit % 8)
    file.write_bytes(content)


@pytest.mark.parametrize('how', ['deleted', 'truncated', 'emptied', 'zeroed', 'one bit flipped'])
def test_damage_to_any_file_is_detected(saved, tmp_path, how, capfd):
  fell_back = set()
  for number, original in enumerate(path for path in sorted((saved / '3').rglob('*')) if path.is_file()):
    name, directory = original.relative_to(saved), tmp_path / str(number)
    shutil.copytree(saved, directory)
    damage(directory / name, how)
    warnings: list[str] = []
    state, run = restore(directory, warn=warnings.append)
    chex.assert_trees_all_equal(bits(state), bits(tree(run['data_position'])), custom_message=str(name))
    assert len(warnings) == (run['data_position'] == 2), name
    if warnings:
      assert warnings[0].startswith('checkpoint 3 is damaged (')
      assert warnings[0].endswith('; falling back to checkpoint 2')
      fell_back.add(name.parts[1])
  assert fell_back == {'state', 'meta'}
  assert capfd.readouterr().err == ''  # No other output.


@pytest.mark.parametrize('how', ['deleted', 'truncated', 'zeroed'])
def test_damage_to_any_file_of_the_only_checkpoint_is_an_error_of_one_line(saved, tmp_path, how):
  refused = 0
  for number, original in enumerate(path for path in sorted((saved / '3').rglob('*')) if path.is_file()):
    directory = tmp_path / str(number)
    shutil.copytree(saved / '3', directory / '3')
    damage(directory / original.relative_to(saved), how)
    error = None
    try:
      state, _ = restore(directory)
    except UserError as caught:
      error = str(caught)
    if error is None:  # Not every file has a part in restoring.
      chex.assert_trees_all_equal(bits(state), bits(tree(3)), custom_message=str(original))
    else:
      assert re.fullmatch(rf'no checkpoint in {directory} is intact \(3: .+\); use another --workdir', error)
      refused += 1
  assert refused


def test_reading_does_not_wait_for_the_other_processes_where_one_that_fails_would_not(saved, monkeypatch):
  """Orbax would, after it has read without an error."""
  monkeypatch.setattr(ocp.multihost, 'sync_global_processes', lambda *_, **__: pytest.fail('waits'))
  state, _ = restore(saved)
  chex.assert_trees_all_equal(bits(state), bits(tree(3)))


def test_two_swapped_arrays_are_detected(copied):
  """Checksums of files would not detect this: the arrays are intact, but in the wrong place."""
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
  assert warnings == ['checkpoint 3 is damaged (params/w); falling back to checkpoint 2']


def test_an_error_lists_the_damage_if_no_checkpoint_is_intact(copied):
  for step in (1, 2, 3):
    damage(copied / str(step) / 'state' / 'manifest.ocdbt', 'truncated')
  with pytest.raises(UserError, match=r'no checkpoint in .* is intact \(3: .*; 2: .*; 1: .*\)'):
    restore(copied)


def test_a_damaged_checkpoint_is_moved_aside_by_the_next_save(copied):
  damage(copied / '3' / 'meta' / 'metadata', 'one bit flipped')
  checkpoints = Checkpoints(copied, warn=lambda _: None)
  like = shapes(tree())
  _, run = checkpoints.restore(like, here(like))
  assert checkpoints.steps() == [1, 2, 3]  # Reading changes nothing.
  checkpoints.save(3, tree(3), run, best=1)
  checkpoints.wait()
  assert (copied / '3.damaged').is_dir()
  state, _ = restore(copied)
  chex.assert_trees_all_equal(bits(state), bits(tree(3)))


def test_an_existing_step_is_not_overwritten(copied):
  checkpoints = Checkpoints(copied, warn=pytest.fail)
  checkpoints.save(3, tree(5), RUN, best=1)
  checkpoints.wait()
  chex.assert_trees_all_equal(bits(restore(copied)[0]), bits(tree(3)))


def test_reading_does_not_remove_a_checkpoint_that_is_being_written(copied):
  partial = copied / '4.orbax-checkpoint-tmp'
  partial.mkdir()
  assert restore(copied)[1]['data_position'] == 3
  assert partial.is_dir()
  Checkpoints(copied, warn=pytest.fail).save(5, tree(5), RUN, best=None)
  assert not partial.exists()


def test_the_remains_of_a_checkpoint_after_a_kill_are_removed(copied):
  (copied / '1' / '_CHECKPOINT_METADATA').unlink()
  shutil.rmtree(copied / '1' / 'state')
  checkpoints = Checkpoints(copied, warn=pytest.fail)
  checkpoints.save(4, tree(4), RUN, best=None)
  checkpoints.wait()
  assert checkpoints.steps() == [3, 4]


@pytest.mark.parametrize('make', [lambda path: path.write_text('x'), lambda path: path.symlink_to(path)])
def test_what_is_no_folder_of_checkpoints_is_named(tmp_path, make):
  make(tmp_path / 'checkpoints')
  with pytest.raises(UserError, match=r'cannot read .*checkpoints: .*; use another --workdir'):
    Checkpoints(tmp_path / 'checkpoints', warn=print).steps()


def test_the_last_checkpoint_is_named(saved, tmp_path):
  assert Checkpoints(saved, warn=pytest.fail).last() == 'checkpoint 3 is the last complete one'
  assert Checkpoints(tmp_path / 'none', warn=pytest.fail).last() == 'there is no other checkpoint'
