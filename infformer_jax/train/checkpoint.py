"""Checkpoints that notice when they are damaged.

Orbax writes them, asynchronously and atomically, but does not see a flipped bit in its files. So every
checkpoint carries a checksum of each of its arrays and of its own metadata; restoring verifies all of them
and, where one is wrong, goes back to the checkpoint before.

    W/checkpoints/1200/state   the arrays, by name: params/..., optimizer/..., memory/...
    W/checkpoints/1200/meta    where the run was, and the checksums
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from infformer_jax.errors import UserError
from infformer_jax.train.checksum import described, digest, kind
from infformer_jax.train.exits import SaveError
from infformer_jax.train.sharding import name
from infformer_jax.types import Array, PyTree

_T = TypeVar('_T')


class Damaged(Exception):
  """Something in a checkpoint cannot be verified."""


class Checkpoints:
  """The newest two checkpoints of a run, and the best."""

  def __init__(self, directory: pathlib.Path, *, warn: Callable[[str], None]):
    """Reads and writes nothing yet.

    Args:
      directory: W/checkpoints, on a disk that all processes share.
      warn: takes the line about a damaged checkpoint.
    """
    self._directory = directory.absolute()
    self._warn = warn
    self._damaged: list[int] = []
    self._best: int | None = None

  def steps(self) -> list[int]:
    """The steps that have a checkpoint, oldest first. Unfinished ones have other names."""
    if not self._directory.is_dir():
      return []
    return sorted(int(path.name) for path in self._directory.iterdir() if path.name.isdecimal())

  def save(self, step: int, state: PyTree, run: Mapping[str, Any], *, best: int | None) -> None:
    """Starts to save; returns when `state` may be donated. An existing checkpoint of the step stays.

    Args:
      step: names the checkpoint.
      state: any pytree of arrays.
      run: what else to store, as JSON.
      best: the step whose checkpoint is always kept.
    Raises:
      SaveError: this checkpoint, or the one that was still being written, cannot be.
    """
    self._best = best
    self._move_damaged_aside()
    if step in self.steps():
      return
    arrays = named_arrays(state)
    # A copy: Orbax writes it later, when the run has continued.
    meta = json.loads(json.dumps({'run': run, 'leaves': described(arrays)}))
    args = ocp.args.Composite(
      # Orbax refuses arrays of size zero; there is nothing in them.
      state=ocp.args.PyTreeSave({key: array for key, array in arrays.items() if array.size}),
      meta=ocp.args.JsonSave({**meta, 'sha256': digest(meta)}),
    )
    self._writing(lambda: self._manager.save(step, args=args, force=True))

  def wait(self) -> None:
    """Returns when everything is on the disk.

    Raises:
      SaveError: it cannot be.
    """
    self._writing(lambda: self._manager.wait_until_finished())

  def restore(
    self, like: _T, shardings: PyTree, *, step: int | None = None
  ) -> tuple[_T, dict[str, Any]] | None:
    """The newest checkpoint that can be verified and its `run`; None where there is no checkpoint at all.

    Newer ones are reported; the next save moves them aside, to `1200.damaged`.

    Args:
      like: names, shapes and dtypes, as arrays or abstract; a part of what was saved is enough.
      shardings: where the leaves go, on these or any other devices.
      step: the checkpoint of this step, and no other.
    Raises:
      UserError: no checkpoint is intact, there is none of this step, or it does not fit `like`.
    """
    steps = self.steps()
    candidates = [there for there in steps if step in (None, there)]
    if steps and not candidates:
      raise UserError(f'{self._directory} has no checkpoint {step}, only {", ".join(map(str, steps))}')
    reasons: dict[int, str] = {}
    for candidate in reversed(candidates):
      try:
        restored = self._read(candidate, like, shardings)
      except Damaged as error:
        reasons[candidate] = str(error)
        continue
      for damaged, reason in reasons.items():
        self._warn(f'checkpoint {damaged} is damaged ({reason}); going back to checkpoint {candidate}')
      self._damaged = list(reasons)
      return restored
    if reasons:
      each = '; '.join(f'{damaged}: {reason}' for damaged, reason in reasons.items())
      if step is not None:
        raise UserError(f'the checkpoint in {self._directory} is damaged ({each}); take another step')
      raise UserError(
        f'no checkpoint in {self._directory} is intact ({each}); begin in another work directory'
      )
    return None

  def kinds(self) -> dict[str, str] | None:
    """What the newest readable checkpoint holds, name -> 'float32[2,3]'; None where there is none."""
    for step in reversed(self.steps()):
      with contextlib.suppress(Damaged):
        return {key: text.rpartition(' ')[0] for key, text in self._meta(step)['leaves'].items()}
    return None

  def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
    """Called by Orbax after every save: which of the checkpoints, oldest first, to keep."""
    del context
    kept = {self._best, *(checkpoint.step for checkpoint in checkpoints[-2:])}
    return [checkpoint.step in kept for checkpoint in checkpoints]

  @functools.cached_property
  def _manager(self) -> ocp.CheckpointManager:
    # Made by the first save, since it also sweeps up what a killed run has left half written.
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
      there = saved.get(key, 'no such array ').rpartition(' ')[0]
      if there != kind(leaf):
        raise UserError(f'{directory} does not fit the config: {key} is {kind(leaf)} here and {there} there')

    wanted = {key: leaf for key, leaf in abstract.items() if leaf.size}
    args = ocp.args.PyTreeRestore(
      wanted,
      restore_args={key: ocp.ArrayRestoreArgs(sharding=places[key]) for key in wanted},
      partial_restore=True,
    )
    handler = ocp.PyTreeCheckpointHandler()
    arrays = _reading(lambda: ocp.Checkpointer(handler).restore(directory / 'state', args=args))
    arrays |= {key: jnp.zeros(leaf.shape, leaf.dtype) for key, leaf in abstract.items() if not leaf.size}
    found = _reading(lambda: described(arrays))  # A name that is not there comes back as no array.
    wrong = [key for key in abstract if found[key] != saved[key]]
    if wrong:
      raise Damaged(f'{wrong[0]} and {len(wrong) - 1} other arrays' if len(wrong) > 1 else wrong[0])

    def rebuild(path: tuple, leaf: Any) -> Array:
      array = arrays[name(path)]
      return jax.random.wrap_key_data(array) if _is_key(leaf) else array

    return jax.tree.map_with_path(rebuild, like), meta['run']

  def _meta(self, step: int) -> dict[str, Any]:
    path = self._directory / str(step) / 'meta'
    meta = _reading(lambda: ocp.Checkpointer(ocp.JsonCheckpointHandler()).restore(path))
    if meta.pop('sha256', None) != digest(meta):
      raise Damaged('its metadata')
    return meta

  def _writing(self, write: Callable[[], Any]) -> None:
    try:
      write()
    except Exception as error:  # Of any kind: a full disk looks different to every layer below.
      last = self.steps()[-1:]
      good = f'checkpoint {last[0]} is the last good one' if last else 'there is no other'
      raise SaveError(
        f'a checkpoint could not be written to {self._directory} ({_in_short(error)}); {good}'
      ) from error

  def _move_damaged_aside(self) -> None:
    if not self._damaged:
      return
    if jax.process_index() == 0:
      for step in self._damaged:
        aside = self._directory / f'{step}.damaged'
        shutil.rmtree(aside, ignore_errors=True)  # From an earlier time at the same step.
        (self._directory / str(step)).rename(aside)
    multihost_utils.sync_global_devices('damaged checkpoints moved aside')
    self._damaged = []


def named_arrays(tree: PyTree) -> dict[str, Array]:
  """The leaves by name, random keys as the numbers they are."""
  return {
    name(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def _is_key(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _reading(read: Callable[[], Any]) -> Any:
  """Reads something; all processes agree on whether it could be read.

  Raises:
    Damaged: it could not.
  """
  result, reason = None, 'another process could not read it'
  try:
    result = read()
  except Exception as error:  # Of any kind: a damaged file can hold anything.
    reason = _in_short(error)
  if not np.all(multihost_utils.process_allgather(np.array(result is not None))):
    raise Damaged(reason)
  return result


def _in_short(error: BaseException) -> str:
  """What the operating system says, if it is in the message; else the beginning of that."""
  if code := re.search(r"os_error_code='(\d+)'", str(error)):
    return os.strerror(int(code[1]))
  line = next(iter(str(error).splitlines()), '') or type(error).__name__
  return line if len(line) < 120 else line[:117] + '...'
