"""Checkpoints in an emulated bucket, where kills leave unfinished ones under their final names."""

import asyncio

import chex
import pytest
from etils import epath

from infformer_jax import paths
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.exits import UnreachableError
from tests.bits import bits
from tests.train.test_checkpoint import RUN, here, restore, shapes, tree


@pytest.fixture
def saved(bucket, tmp_path) -> epath.Path:
  """A directory with the checkpoints 1, 2 and 3; checkpoint 1 is the best."""
  directory = paths.parse(f'gs://bucket{tmp_path}/checkpoints', '--workdir')
  save(directory, 0, 1, 2, 3)
  return directory


def save(directory: epath.Path, *steps: int) -> None:
  checkpoints = Checkpoints(directory, warn=pytest.fail)
  for step in steps:
    checkpoints.save(step, tree(step), RUN | {'data_position': step}, best=1 if step else None)
  checkpoints.wait()


def objects_of(bucket, directory: epath.Path, step: int) -> list[str]:
  return bucket.names(f'{str(directory).removeprefix("gs://bucket/")}/{step}/')


def steps(directory: epath.Path) -> list[int]:
  return Checkpoints(directory, warn=pytest.fail).steps()


def assert_restored(directory: epath.Path, step: int, warn=pytest.fail) -> None:
  state, run = restore(directory, warn=warn)
  assert run['data_position'] == step
  chex.assert_trees_all_equal(bits(state), bits(tree(step)))


def test_the_newest_two_and_the_best_are_kept_and_restored_bit_for_bit(saved):
  assert steps(saved) == [1, 2, 3]
  assert_restored(saved, 3)


def test_an_unfinished_checkpoint_is_not_counted_and_nothing_of_it_remains(saved, bucket):
  whole = objects_of(bucket, saved, 3)
  bucket.remove(*[name for name in whole if name.endswith(('3/commit_success.txt', 'ocdbt'))])
  (saved / '3' / 'state' / 'rest').write_bytes(b'rest')
  assert steps(saved) == [1, 2]
  assert_restored(saved, 2)
  save(saved, 3)
  assert_restored(saved, 3)
  assert not (saved / '3' / 'state' / 'rest').exists()


def test_one_that_is_half_deleted_does_not_disturb(saved, bucket):
  """A kill while an old checkpoint is deleted: its commit file may be among what is left."""
  bucket.remove(*[name for name in objects_of(bucket, saved, 2) if not name.endswith('2/commit_success.txt')])
  assert_restored(saved, 3)
  save(saved, 4)
  assert_restored(saved, 4)
  save(saved, 5)
  assert steps(saved) == [1, 4, 5]
  assert objects_of(bucket, saved, 2) == []


def test_a_damaged_one_is_reported_and_the_next_save_deletes_it(saved, bucket):
  bucket.remove(next(name for name in objects_of(bucket, saved, 3) if name.endswith('meta/metadata')))
  lines, like = [], shapes(tree())
  checkpoints = Checkpoints(saved, warn=lines.append)
  _, run = checkpoints.restore(like, here(like))
  assert run['data_position'] == 2
  assert [line.split(' (')[0] for line in lines] == ['checkpoint 3 is damaged']
  assert steps(saved) == [1, 2, 3]  # Reading changes nothing.
  checkpoints.save(3, tree(3), RUN | {'data_position': 3}, best=1)
  checkpoints.wait()
  assert_restored(saved, 3)


def test_a_bucket_that_is_away_for_long_is_not_damage(saved, bucket, monkeypatch):
  sleep = asyncio.sleep
  monkeypatch.setattr(asyncio, 'sleep', lambda seconds: sleep(0))  # Between the attempts of gcsfs.
  known = steps(saved)
  bucket.stop()
  try:
    monkeypatch.setattr(Checkpoints, 'steps', lambda self: known)
    with pytest.raises(UnreachableError, match='a checkpoint could not be read'):
      restore(saved)
    monkeypatch.undo()
    monkeypatch.setattr(asyncio, 'sleep', lambda seconds: sleep(0))
    with pytest.raises(paths.errors()):
      steps(saved)
  finally:
    bucket.start()
  assert_restored(saved, 3)
