"""Checkpoints with checksums.

Orbax writes them, asynchronously and atomically, but does not detect a flipped bit in its files. Therefore a
checkpoint has a checksum of each array and of its metadata. Restoring verifies all of them and falls back to
the previous checkpoint if one is wrong. In a bucket, where no folder can be renamed, a checkpoint is complete
when it has the object commit_success.txt, which Orbax writes last.

    W/checkpoints/1200/state   the arrays, by name: params/..., optimizer/..., memory/...
    W/checkpoints/1200/meta    the position of the run, and the checksums
"""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from infformer_jax import files, paths
from infformer_jax.errors import UserError
from infformer_jax.train.checksum import described, digest, kind, kind_in
from infformer_jax.train.exits import SaveError, UnreachableError
from infformer_jax.train.intact import Damaged, in_short, is_unreachable, reading
from infformer_jax.train.sharding import name
from infformer_jax.types import Array, PyTree

_T = TypeVar('_T')
_COMMITTED = 'commit_success.txt'


class Checkpoints:
  """Saves and restores the newest two checkpoints of a run, and the best."""

  def __init__(self, directory: epath.PathLike, *, warn: Callable[[str], None]):
    """Neither reads nor writes.

    Args:
      directory: W/checkpoints, in a bucket or on a disk that all processes share; absolute.
      warn: called with a line about each damaged checkpoint.
    """
    self._directory = epath.Path(directory)
    self._warn = warn
    self._damaged: list[int] = []
    self._best: int | None = None

  def steps(self) -> list[int]:
    """The steps that have a complete checkpoint, oldest first.

    Raises:
      UserError: what is at the place of the folder is none, or cannot be read.
    """
    try:
      if paths.is_local(self._directory):
        folders = list(self._directory.iterdir())
      else:
        folders = [committed.parent for committed in self._directory.glob(f'*/{_COMMITTED}')]
    except FileNotFoundError:
      return []
    except OSError as error:
      if not paths.is_local(self._directory):
        raise
      raise UserError(
        f'cannot read {self._directory}: {paths.reason(error)}; use another --workdir'
      ) from None
    return sorted(int(folder.name) for folder in folders if folder.name.isdecimal())

  def save(self, step: int, state: PyTree, run: Mapping[str, Any], *, best: int | None) -> None:
    """Starts to save, and returns when `state` may be donated. An existing checkpoint of the step is kept.

    Args:
      step: names the checkpoint.
      state: any pytree of arrays.
      run: stored with the state, as JSON.
      best: the step whose checkpoint is always kept.
    Raises:
      SaveError, UnreachableError: this checkpoint, or the one still being written, cannot be written.
    """
    self._best = best
    self._move_damaged_aside()
    if step in self.steps():
      return
    arrays = named_arrays(state)
    # A copy, because Orbax writes it while the run continues.
    meta = json.loads(json.dumps({'run': run, 'leaves': described(arrays)}))
    args = ocp.args.Composite(
      # Orbax refuses arrays of size zero.
      state=ocp.args.PyTreeSave({key: array for key, array in arrays.items() if array.size}),
      meta=ocp.args.JsonSave({**meta, 'sha256': digest(meta)}),
    )
    self._writing(lambda: self._manager.save(step, args=args, force=True))

  def wait(self) -> None:
    """Returns when all checkpoints are on the disk.

    Raises:
      SaveError, UnreachableError: one cannot be written.
    """
    if '_manager' in vars(self):  # Creating it needs all processes.
      self._writing(lambda: self._manager.wait_until_finished())

  def restore(
    self, like: _T, shardings: PyTree, *, step: int | None = None
  ) -> tuple[_T, dict[str, Any]] | None:
    """The newest intact checkpoint and its `run`; None if there is no checkpoint.

    Damaged newer ones are reported. The next save renames them, e.g. to `1200.damaged`; in a bucket, it
    deletes them.

    Args:
      like: arrays or abstract arrays with the names, shapes and dtypes; may be a part of what was saved.
      shardings: of the leaves; the devices may differ from those of the saved state.
      step: restores the checkpoint of this step only.
    Raises:
      UserError: no checkpoint is intact, there is none of this step, or its arrays differ from `like`.
      UnreachableError: the bucket cannot be reached.
    """
    steps = self.steps()
    candidates = [each for each in steps if step in (None, each)]
    if steps and not candidates:
      available = ', '.join(map(str, steps))
      raise UserError(f'step = {step}: {self._directory} has no checkpoint {step} (available: {available})')
    reasons: dict[int, str] = {}
    for candidate in reversed(candidates):
      try:
        restored = self._read(candidate, like, shardings)
      except Damaged as error:
        reasons[candidate] = str(error)
        continue
      for damaged, reason in reasons.items():
        self._warn(f'checkpoint {damaged} is damaged ({reason}); falling back to checkpoint {candidate}')
      self._damaged = list(reasons)
      return restored
    if reasons:
      each = '; '.join(f'{damaged}: {reason}' for damaged, reason in reasons.items())
      if step is not None:
        raise UserError(f'step = {step} in {self._directory} is damaged ({each}); use another step')
      raise UserError(f'no checkpoint in {self._directory} is intact ({each}); use another --workdir')
    return None

  def last(self) -> str:
    """Says which checkpoint is the last complete one."""
    try:
      last = self.steps()[-1:]
    except paths.errors():
      return 'run the same command again to resume from the last complete one'
    return f'checkpoint {last[0]} is the last complete one' if last else 'there is no other checkpoint'

  def described(self) -> Iterator[dict[str, str]]:
    """The arrays of every readable checkpoint, the newest first, as `checksum.described` describes them."""
    for step in reversed(self.steps()):
      with contextlib.suppress(Damaged):
        yield self._meta(step)['leaves']

  def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
    """Orbax calls this after every save: whether to keep each of the checkpoints, oldest first."""
    del context
    kept = {self._best, *(checkpoint.step for checkpoint in checkpoints[-2:])}
    return [checkpoint.step in kept for checkpoint in checkpoints]

  @functools.cached_property
  def _manager(self) -> ocp.CheckpointManager:
    # Created by the first save, because it also removes the partial checkpoints of a killed run.
    options = ocp.CheckpointManagerOptions(
      preservation_policy=self, cleanup_tmp_directories=True, lightweight_initialize=True
    )
    return ocp.CheckpointManager(self._directory, options=options)

  def _read(self, step: int, like: _T, shardings: PyTree) -> tuple[_T, dict[str, Any]]:
    directory = self._directory / str(step)
    abstract = jax.eval_shape(named_arrays, like)
    places = {name(path): place for path, place in jax.tree.leaves_with_path(shardings)}
    meta = self._meta(step)
    saved = meta['leaves']
    for key, leaf in abstract.items():
      saved_kind = kind_in(saved.get(key, 'missing '))
      if saved_kind != kind(leaf):
        raise UserError(
          f'{directory} does not fit the config: '
          f'{key} is {saved_kind} in the checkpoint, {kind(leaf)} in the model'
        )

    wanted = {key: leaf for key, leaf in abstract.items() if leaf.size}
    args = ocp.args.PyTreeRestore(
      wanted,
      restore_args={key: ocp.ArrayRestoreArgs(sharding=places[key]) for key in wanted},
      partial_restore=True,
    )
    # Not by a Checkpointer: it waits for all processes, where one whose read has failed does not arrive.
    arrays = reading(lambda: ocp.PyTreeCheckpointHandler().restore(directory / 'state', args=args))
    arrays |= {key: jnp.zeros(leaf.shape, leaf.dtype) for key, leaf in abstract.items() if not leaf.size}
    restored = reading(lambda: described(arrays))  # Fails for a missing array, which Orbax returns as None.
    wrong = [key for key in abstract if restored[key] != saved[key]]
    if wrong:
      raise Damaged(f'{wrong[0]} and {len(wrong) - 1} other arrays' if len(wrong) > 1 else wrong[0])

    def rebuild(path: tuple, leaf: Any) -> Array:
      array = arrays[name(path)]
      return jax.random.wrap_key_data(array) if _is_key(leaf) else array

    return jax.tree.map_with_path(rebuild, like), meta['run']

  def _meta(self, step: int) -> dict[str, Any]:
    path = self._directory / str(step) / 'meta'
    meta = reading(lambda: ocp.JsonCheckpointHandler().restore(path))
    if meta.pop('sha256', None) != digest(meta):
      raise Damaged('its metadata')
    return meta

  def _writing(self, write: Callable[[], Any]) -> None:
    try:
      write()
    except Exception as error:  # Each layer below reports a full disk by another type of error.
      kind = UnreachableError if is_unreachable(error) else SaveError
      raise kind(
        f'a checkpoint could not be written to {self._directory} ({in_short(error)}); {self.last()}'
      ) from error

  def _move_damaged_aside(self) -> None:
    if not self._damaged:
      return
    if jax.process_index() == 0:
      for step in self._damaged:
        folder, aside = self._directory / str(step), self._directory / f'{step}.damaged'
        if paths.is_local(folder):
          files.remove(aside)  # Of an earlier failure at this step.
          folder.rename(aside)
        else:
          (folder / _COMMITTED).unlink()  # Orbax removes it then, like the remains of a killed run.
    multihost_utils.sync_global_devices('damaged checkpoints moved aside')
    self._damaged = []


def named_arrays(tree: PyTree) -> dict[str, Array]:
  """The leaves by name; random keys as their underlying integers."""
  return {
    name(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def _is_key(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
