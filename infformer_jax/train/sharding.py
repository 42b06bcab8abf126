"""The sharding of every array: one mesh over all devices, and one table of rules.

The lanes are split over the devices, and every other array is replicated; XLA inserts the sums over devices.
Another layout, such as sharded parameters or a second axis, is another row of the table.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from infformer_jax.errors import ConfigError
from infformer_jax.types import Batch, PyTree

RULES: tuple[tuple[str, PartitionSpec], ...] = (
  ('batch/', PartitionSpec('data')),  # lanes first
  ('memory/', PartitionSpec('data')),  # lanes first
  ('params/', PartitionSpec()),
  ('optimizer/', PartitionSpec()),
  ('step', PartitionSpec()),
  ('key', PartitionSpec()),
  ('finite', PartitionSpec()),
  ('skipped', PartitionSpec()),
)
"""The prefix of an array's name (`name`), and its partition; the first matching row applies."""


def make_mesh() -> Mesh:
  """All devices along one axis, `data`, ordered by process: a process holds the lanes that it feeds."""
  devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
  return Mesh(np.array(devices), ('data',), axis_types=(AxisType.Auto,))


def name(path: tuple) -> str:
  """The name of a leaf: its keys, joined by '/'.

  >>> name((jax.tree_util.GetAttrKey('params'), jax.tree_util.DictKey('final_norm')))
  'params/final_norm'
  """
  return jax.tree_util.keystr(path, simple=True, separator='/')


def shardings(tree: PyTree, mesh: Mesh) -> PyTree:
  """The sharding of every leaf, by its name in `RULES`.

  Raises:
    ValueError: an array without a rule.
  """

  def sharding(path: tuple, leaf: Any) -> NamedSharding:
    del leaf
    for start, spec in RULES:
      if name(path).startswith(start):
        return NamedSharding(mesh, spec)
    raise ValueError(f'no rule for {name(path)} in train/sharding.py')

  return jax.tree.map_with_path(sharding, tree)


def local_lanes(batch_size: int, *, key: str = 'train.batch_size') -> range:
  """The lanes that this process feeds.

  Args:
    batch_size: lanes over all devices.
    key: the config key of `batch_size`, for the error.
  Raises:
    ConfigError: the number of lanes is not divisible by the number of devices.
  """
  devices = jax.device_count()
  if batch_size % devices:
    lower = batch_size // devices * devices
    raise ConfigError(
      f'{key} = {batch_size} must be divisible by the {devices} devices; '
      f'use {f"{lower} or " if lower else ""}{lower + devices}'
    )
  mine = batch_size // jax.process_count()
  return range(jax.process_index() * mine, (jax.process_index() + 1) * mine)


def put_batch(batch: Batch, mesh: Mesh) -> Batch:
  """The batch of all lanes, split over the devices, from this process's lanes."""
  sharding = jax.tree.leaves(shardings({'batch': batch}, mesh))[0]
  return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, np.asarray(a)), batch)


def put_constants(constants: PyTree, mesh: Mesh) -> PyTree:
  """`Transformer.constants` on all devices; every process computes the same ones."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  return jax.tree.map(
    lambda a: jax.make_array_from_callback(a.shape, everywhere, lambda index: a[index]), constants
  )
