"""Where arrays are on the mesh of a program: lanes over its axes `data` and `fsdp`, heads over `tensor`.

The mesh is that of `jax.set_mesh` or, in a traced function, of `jax.sharding.use_abstract_mesh`; its axes are
of type Auto. Without such axes, all functions here are identities. XLA places most arrays. Here it is told
what to do where it would communicate inside a loop: a loop over segments must not depend on the heads of
other devices, and a loop over heads must only visit those of its own device.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

LANES = ('data', 'fsdp')
HEADS = 'tensor'
_ANY = PartitionSpec.UNCONSTRAINED


def lanes_first(tree: Any) -> Any:
  """The arrays with their first axis split over `LANES`, if these divide it, and no other axis split."""
  axes = tuple(axis for axis in LANES if axis in _sizes())

  def placed(x: Any) -> Any:
    divides = axes and x.shape[0] % _product(axes) == 0
    return _constrained(x, axes if divides else _ANY, *(None,) * (x.ndim - 1))

  return jax.tree.map(placed, tree)


def everywhere(tree: Any) -> Any:
  """The arrays with all of their elements on every device."""
  return jax.tree.map(lambda x: _constrained(x), tree)


def by_shard_of_heads(
  function: Callable[..., Any], args: tuple, axes: Sequence[int | None], out_axes: Any
) -> Any:
  """function(*args), for the heads of every device of `HEADS` on their own.

  Args:
    function: of the heads of its arguments; the result for some of them must not depend on the others.
    args: pytrees of arrays.
    axes: of the heads, for every array in `args` in the order of jax.tree.leaves; None: it has no heads.
    out_axes: of the heads, for every array of the result.
  """
  count = _sizes().get(HEADS, 1)
  leaves, structure = jax.tree.flatten(args)
  pairs = list(zip(leaves, axes, strict=True))
  if count == 1 or any(a.shape[axis] % count for a, axis in pairs if axis is not None):
    return function(*args)

  def split(a: Any, axis: int | None) -> Any:
    if axis is None:
      return a
    a = a.reshape(*a.shape[:axis], count, a.shape[axis] // count, *a.shape[axis + 1 :])
    return _constrained(a, *(HEADS if each == axis else _ANY for each in range(a.ndim)))

  def joined(axis: int, a: jax.Array) -> jax.Array:
    return a.reshape(*a.shape[:axis], -1, *a.shape[axis + 2 :])

  def of_leaves(*leaves: Any) -> Any:  # Axes in the place of arrays would not be such dataclasses.
    return function(*jax.tree.unflatten(structure, leaves))

  mapped = jax.vmap(of_leaves, in_axes=tuple(axes), out_axes=out_axes, spmd_axis_name=HEADS)
  return jax.tree.map(joined, out_axes, mapped(*(split(a, axis) for a, axis in pairs)))


def by_shard_of_lanes(function: Callable[[Any, Any], Any], shared: Any, lanes: Any) -> Any:
  """function(shared, lanes), for the lanes of every device of `LANES` on their own.

  Gradients of what they share are added up over the devices at the end, also where the function is a loop, in
  which XLA would add them up in every iteration.

  Args:
    function: the result for some lanes, which it has first, must not depend on the others.
    shared: arrays that all lanes use.
    lanes: arrays with the lanes first.
  """
  axes = tuple(axis for axis in LANES if axis in _sizes())
  count = _product(axes)
  if count == 1 or any(a.shape[0] % count for a in jax.tree.leaves(lanes)):
    return function(shared, lanes)

  def copies(a: jax.Array) -> jax.Array:
    return _constrained(jnp.broadcast_to(a, (count, *a.shape)), axes, *(None,) * a.ndim)

  def split(a: jax.Array) -> jax.Array:
    a = a.reshape(count, -1, *a.shape[1:])
    return _constrained(a, axes, *(_ANY,) * (a.ndim - 1))

  results = jax.vmap(function, spmd_axis_name=axes)(jax.tree.map(copies, shared), jax.tree.map(split, lanes))
  return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), results)


def _constrained(x: Any, *spec: Any) -> Any:
  return jax.lax.with_sharding_constraint(x, PartitionSpec(*spec)) if _sizes() else x


def _sizes() -> dict[str, int]:
  """Of the axes that this module knows, if the program has a mesh with such axes."""
  mesh = jax.sharding.get_abstract_mesh()
  kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
  known = {axis for axis in (*LANES, HEADS) if kinds.get(axis) == AxisType.Auto}
  return {axis: mesh.shape[axis] for axis in mesh.axis_names if axis in known}


def _product(axes: tuple[str, ...]) -> int:
  sizes, product = _sizes(), 1
  for axis in axes:
    product *= sizes[axis]
  return product
