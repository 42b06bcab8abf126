"""The sharding of every array: one table says which dimensions are split over which axes of the mesh."""

import dataclasses
import functools
import re
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from infformer_jax.core.placement import HEADS, LANES
from infformer_jax.types import Array, Batch, PyTree

TABLE: tuple[tuple[str, str], ...] = (
  # Names of arrays of the model and of the moments of its parameters, and the letters of their dimensions.
  (r'attention/w_[qkvr]/kernel', 'dh'),
  (r'attention/w_[qkv]/bias', 'h'),
  (r'attention/w_o/kernel', 'hd'),
  (r'feed_forward/w_(in|gate)/kernel', 'df'),
  (r'feed_forward/w_(in|gate)/bias', 'f'),
  (r'feed_forward/w_out/kernel', 'fd'),
  (r'\w+_h', 'h'),  # scale_h, gate_h
  (r'\w+_hk', 'hk'),  # u_hk, v_hk
  (r'\w+_jh', 'jh'),  # bias_jh
  (r'\w+_dhk', 'dhk'),  # w_k_dhk, w_v_dhk
  (r'\w+_hkd', 'hkd'),  # w_o_hkd
  (r'\w+_bmhk', 'bmhk'),  # The keys and values in a memory's state.
)
"""The first row applies whose expression is the end of the name, from a '/' on."""

AXES = {
  'h': HEADS,  # heads, or heads times their widths
  'f': HEADS,  # hidden units of a feed-forward
}
"""The axes over which the dimensions of these letters are split.

Batches and memories have the lanes first, whatever their names, which are split over data and fsdp. Of a
parameter with at least two dimensions, and of its moments, one that no row splits is split over `fsdp`: the
widest that `fsdp` divides. Everything else is on all devices.
"""

_LANES_FIRST = ('batch/', 'memory/')
_PARAMETERS = ('params/', 'optimizer/')
_EVERYWHERE = ('step', 'key', 'finite', 'skipped')


def name(path: tuple) -> str:
  """The name of a leaf: its keys, joined by '/'.

  >>> name((jax.tree_util.GetAttrKey('params'), jax.tree_util.DictKey('final_norm')))
  'params/final_norm'
  """
  return jax.tree_util.keystr(path, simple=True, separator='/')


def shardings(tree: PyTree, mesh: Mesh) -> PyTree:
  """The sharding of every leaf, by its name in `TABLE`.

  Raises:
    ValueError: an array without a rule.
  """

  def sharding(path: tuple, leaf: Any) -> NamedSharding:
    return NamedSharding(mesh, _spec(name(path), leaf.shape, mesh))

  return jax.tree.map_with_path(sharding, tree)


def _spec(of: str, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
  axes = _by_letter(of, shape, mesh)
  if of.startswith(_LANES_FIRST):
    return _trimmed([LANES, *axes[1:]], mesh)
  if of.startswith(_PARAMETERS):
    free = [i for i, axis in enumerate(axes) if axis is None and shape[i] % mesh.shape['fsdp'] == 0]
    if len(shape) > 1 and free:
      axes[max(free, key=lambda i: shape[i])] = 'fsdp'
    return _trimmed(axes, mesh)
  if of.startswith(_EVERYWHERE):
    return PartitionSpec()
  raise ValueError(f'no rule for {of} in train/sharding.py')


def _by_letter(of: str, shape: tuple[int, ...], mesh: Mesh) -> list[Any]:
  """The axis of every dimension by the table."""
  letters = next((letters for row, letters in _compiled() if row.search(of)), '')
  if len(letters) != len(shape):
    return [None] * len(shape)
  axes = [AXES.get(letter) for letter in letters]
  # mesh.py checks the heads of the model; a memory of a user may have others.
  return [
    axis if axis and size % mesh.shape[axis] == 0 else None for axis, size in zip(axes, shape, strict=True)
  ]


@functools.cache
def _compiled() -> list[tuple[re.Pattern, str]]:
  return [(re.compile(f'(^|/){row}$'), letters) for row, letters in TABLE]


def _trimmed(axes: list[Any], mesh: Mesh) -> PartitionSpec:
  """Without axes of one device, so that equal placements are equal specs."""

  def kept(axis: Any) -> Any:
    several = tuple(
      each for each in (axis if isinstance(axis, tuple) else (axis,)) if mesh.shape.get(each, 1) > 1
    )
    return several if len(several) > 1 else several[0] if several else None

  specs = [kept(axis) for axis in axes]
  while specs and specs[-1] is None:
    specs.pop()
  return PartitionSpec(*specs)


@dataclasses.dataclass(frozen=True)
class Gather:
  """Parameters as a model computes with them: not split over `fsdp`. Their gradients are split again."""

  mesh: Mesh

  def __call__(self, params: PyTree) -> PyTree:
    """The parameters of a part of a model, with the names that they have in it."""

    def gathered(path: tuple, x: Array) -> Array:
      split = _spec(f'params/{name(path)}', x.shape, self.mesh)
      whole = PartitionSpec(*(None if axis == 'fsdp' else axis for axis in split))
      return (
        x if split == whole else _moved(NamedSharding(self.mesh, whole), NamedSharding(self.mesh, split), x)
      )

    return jax.tree.map_with_path(gathered, params)


def gather(mesh: Mesh) -> Gather | None:
  """None: no parameter is split over `fsdp`."""
  return None if mesh.shape['fsdp'] == 1 else Gather(mesh)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _moved(there: NamedSharding, back: NamedSharding, x: Array) -> Array:
  """x with the sharding `there`; its gradient has the sharding `back`."""
  return jax.lax.with_sharding_constraint(x, there)


_moved.defvjp(
  lambda there, back, x: (_moved(there, back, x), None),
  # Not `back` alone: what computes the gradient would be split as it is, instead of by lanes.
  lambda there, back, _, gradient: (
    jax.lax.with_sharding_constraint(jax.lax.with_sharding_constraint(gradient, there), back),
  ),
)


def local_lanes(mesh: Mesh, num_lanes: int) -> range:
  """The lanes on the devices of this process, which it feeds. Processes that share lanes feed the same ones.

  Args:
    mesh: of the run.
    num_lanes: over all devices; data × fsdp divides it (mesh.py `require_lanes`).
  """
  places = NamedSharding(mesh, PartitionSpec(LANES)).addressable_devices_indices_map((num_lanes,))
  parts = [index[0].indices(num_lanes) for index in places.values() if index is not None]
  return range(min(start for start, _, _ in parts), max(stop for _, stop, _ in parts))


def put_batch(batch: Batch, mesh: Mesh, num_lanes: int) -> Batch:
  """The batch of all lanes on the mesh, from the `local_lanes` of this process.

  Raises:
    ValueError: the batch has other lanes.
  """
  lanes, place = local_lanes(mesh, num_lanes), NamedSharding(mesh, PartitionSpec(LANES))

  def put(local: Any) -> Array:
    rows = np.asarray(local)
    if len(rows) != len(lanes):
      raise ValueError(f'a batch of {len(rows)} lanes, but this process feeds {len(lanes)}: {lanes}')
    # Without the global shape, JAX would take lanes that processes share for lanes of each of them.
    return jax.make_array_from_process_local_data(place, rows, (num_lanes, *rows.shape[1:]))

  return jax.tree.map(put, batch)


def put_constants(constants: PyTree, mesh: Mesh) -> PyTree:
  """`Transformer.constants` on all devices; every process computes the same ones."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  return jax.tree.map(
    lambda a: jax.make_array_from_callback(a.shape, everywhere, lambda index: a[index]), constants
  )
