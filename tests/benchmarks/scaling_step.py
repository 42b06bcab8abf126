"""The training step of a config on a mesh, compiled without arrays."""

import functools
import itertools
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from infformer_jax.core.placement import LANES
from infformer_jax.evaluation.cost import random_batch, training_flops_per_token
from infformer_jax.experiment import Experiment
from infformer_jax.nn import transformer
from infformer_jax.train import mesh as meshes
from infformer_jax.train.accumulation import require_whole_groups
from infformer_jax.train.optimizer import make_optimizer
from infformer_jax.train.sharding import shardings
from infformer_jax.train.state import TrainState, initial_state
from infformer_jax.train.step import make_train_step
from infformer_jax.types import Batch, PyTree
from tests import hlo

_PARTS = {'params': 'parameters', 'optimizer': 'optimizer', 'memory': 'memory_state'}


class Step:
  """Shapes, placements and the program of one training step.

  Raises:
    ConfigError: the mesh does not fit the devices, the model, the lanes or their groups.
  """

  def __init__(
    self, experiment: Experiment, vocab_size: int, mesh: meshes.MeshConfig, devices: Sequence[Any]
  ):
    self.mesh = meshes.make_mesh(mesh, devices)
    meshes.require_fit(self.mesh, experiment.model)
    lanes, groups = experiment.train.batch_size, experiment.train.accumulate_steps
    meshes.require_lanes(self.mesh, lanes, 'train.batch_size')
    require_whole_groups(lanes, groups, meshes.lane_shards(self.mesh))
    self._experiment, self._vocab_size = experiment, vocab_size
    optimizer = make_optimizer(experiment.train.optimizer, experiment.train.num_steps)
    sizes = {'vocab_size': vocab_size, 'batch_size': experiment.train.batch_size, 'seed': 0}
    self._start = functools.partial(initial_state, experiment.model, optimizer, **sizes)
    self._graphdef, shapes = jax.eval_shape(self._start)
    self._places = shardings(shapes, self.mesh)
    self._state = jax.tree.map(lambda leaf, place: leaf.update(sharding=place), shapes, self._places)

  @property
  def num_parameters(self) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(self._state.params))

  def flops_per_token(self) -> float:
    """Forward and backward."""
    experiment = self._experiment
    trained = experiment.train.optimizer.trained
    return training_flops_per_token(experiment.model, self._vocab_size, trained)

  def compiled(self) -> jax.stages.Compiled:
    """The program of the step."""
    train = self._experiment.train
    step = make_train_step(
      self._graphdef,
      train.optimizer,
      train.num_steps,
      self._places,
      accumulate_steps=train.accumulate_steps,
    )
    arguments = zip(self._inputs(), self._places_of_inputs(), strict=True)
    return step.lower(self._state, *itertools.starmap(_abstract, arguments)).compile()

  def arguments(self) -> tuple[TrainState, Batch, PyTree]:
    """Arrays for the program: the initial state, a batch of random tokens, the constants of the model."""
    _, state = self._start(places=self._places)
    return state, *itertools.starmap(
      jax.device_put, zip(self._inputs(), self._places_of_inputs(), strict=True)
    )

  def _inputs(self) -> tuple[Batch, PyTree]:
    train = self._experiment.train
    batch = random_batch(self._experiment.model, self._vocab_size, train.batch_size, train.segments_per_chunk)
    return batch, transformer.merge(self._graphdef, self._state.params).constants()

  def _places_of_inputs(self) -> tuple[NamedSharding, NamedSharding]:
    """Lanes; everywhere."""
    return NamedSharding(self.mesh, PartitionSpec(LANES)), NamedSharding(self.mesh, PartitionSpec())

  def bytes_per_device(self) -> dict[str, int]:
    """Of the parts of the state: parameters, moments of the optimizer, memories and caches."""
    return {
      part: sum(map(_bytes_per_device, jax.tree.leaves(getattr(self._state, name))))
      for name, part in _PARTS.items()
    }

  def collectives(self, text: str) -> dict[str, tuple[int, int]]:
    """By kind: how many there are in the text of the program, and the bytes that one device gets from them.

    One in a loop counts once.
    """
    return {kind: (len(sizes), sum(sizes)) for kind, sizes in sorted(hlo.results(text).items())}

  def communicating_loops(self, text: str) -> dict[str, list[str]]:
    """The kinds of collectives in each loop that has some, by the end of the loop's name."""
    return {
      re.sub(r'^.*?jvp', 'jvp', loop.name): sorted({each.split(' ')[0] for each in loop.collectives})
      for loop in hlo.loops(text)
      if loop.collectives
    }


def _abstract(tree: PyTree, place: NamedSharding) -> PyTree:
  return jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), jnp.asarray(a).dtype, sharding=place), tree)


def _bytes_per_device(leaf: Any) -> int:
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return 0
  return int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
