"""A save of metrics and a checkpoint on a disk and in an emulated bucket: until the next step, until the end.

The bucket is in this process (tests/bucket.py). Its requests wait as long as those of a region's buckets do.
"""

import functools
import os
import tempfile
import time
import types
from collections.abc import Iterator

import jax
from etils import epath

from configs import pg19
from infformer_jax import paths
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.hooks import Save
from infformer_jax.train.metrics import MetricsFile
from infformer_jax.train.orbax_log import silence_orbax
from infformer_jax.train.state import TrainState, initial_state
from tests.benchmarks.measure import note
from tests.benchmarks.table import Row, timed
from tests.benchmarks.training_step import NARROW, OPTIMIZER, VOCABULARY
from tests.bucket import Bucket

DELAY_S = 0.03
DISK = 'on a disk'


def rows(quick: bool) -> Iterator[Row]:
  """The time that a save blocks the step, and the time until it is complete."""
  model, rounds = (NARROW, 1) if quick else (pg19.MODELS['tiny'], 15)
  state = _state(model)
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params)) / 2**20
  bucket = Bucket()
  os.environ.update(bucket.environment)
  bucket.delay = DELAY_S
  silence_orbax()
  note(f'saves of {size:.0f} MiB of parameters')
  with tempfile.TemporaryDirectory() as folder:
    workdirs = {'ours': paths.parse('gs://bucket/saving', '--workdir'), DISK: epath.Path(folder)}
    blocked, complete = _times({name: _Saving(path, state) for name, path in workdirs.items()}, rounds)
  bucket.stop()
  what = f'a save, {size:.0f} MiB of parameters, in a bucket with requests of {1000 * DELAY_S:.0f} ms'
  yield timed(f'{what}: blocks the step', blocked, DISK)
  yield timed(f'{what}: is complete', complete, DISK)


def _state(model: ModelConfig) -> TrainState:
  start = functools.partial(initial_state, model, OPTIMIZER, vocab_size=VOCABULARY, batch_size=4, seed=0)
  return jax.block_until_ready(jax.jit(lambda: start()[1])())


class _Saving:
  """A run that is saved again and again."""

  def __init__(self, workdir: epath.Path, state: TrainState):
    self._checkpoints = Checkpoints(workdir / 'checkpoints', warn=note)
    self._save = Save(1, self._checkpoints)
    self._run = types.SimpleNamespace(
      step=0, state=state, best=None, metrics=MetricsFile(workdir, step=0), saved=dict
    )

  def save(self) -> None:
    """Returns when the next step can start."""
    self._run.step += 1
    self._run.metrics.write(self._run.step, 'train', {'loss_nats_per_token': 1.0})
    self._save(self._run)

  def wait(self) -> None:
    self._checkpoints.wait()


def _times(runs: dict[str, _Saving], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
  """The seconds of each round until `save` returns, and until the checkpoint is complete."""
  blocked: dict[str, list[float]] = {name: [] for name in runs}
  complete: dict[str, list[float]] = {name: [] for name in runs}
  for number in range(rounds + 2):  # The first two also connect, and delete nothing.
    for name, run in runs.items():
      before = time.perf_counter()
      run.save()
      saved = time.perf_counter()
      run.wait()
      if number >= 2:
        blocked[name].append(saved - before)
        complete[name].append(time.perf_counter() - before)
  return blocked, complete
