"""Where arrays are on the mesh of a program: lanes over its axes `data` and `fsdp`, heads over `tensor`.

The mesh is that of `jax.set_mesh` or, in a traced function, of `jax.sharding.use_abstract_mesh`; its axes are
of type Auto. Without such axes, all functions here are identities. XLA places most arrays. Here it is told
what to do where it would communicate inside a loop: a loop over segments must not depend on the heads of
other devices, and a loop over heads must only visit those of its own device.
"""

from collections.abc import Callable
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

  def placed(x: jax.Array) -> jax.Array:
    divides = axes and x.shape[0] % _product(axes) == 0
    return _constrained(x, axes if divides else _ANY, *(None,) * (x.ndim - 1))

  return jax.tree.map(placed, tree)


def everywhere(tree: Any) -> Any:
  """The arrays with all of their elements on every device."""
  return jax.tree.map(lambda x: _constrained(x), tree)


def by_shard_of_heads(function: Callable[..., Any], args: tuple, axes: Any, out_axes: Any) -> Any:
  """function(*args), for the heads of every device of `HEADS` on their own.

  Args:
    function: of the heads of its arguments; the result for some of them must not depend on the others.
    args: pytrees of arrays.
    axes: of the heads, for every array in `args`; None: it has no heads.
    out_axes: of the heads, for every array of the result.
  """
  count = _sizes().get(HEADS, 1)
  if count == 1 or any(a.shape[axis] % count for a, axis in _with_heads(args, axes)):
    return function(*args)

  def split(axis: int | None, a: jax.Array | None) -> jax.Array | None:
    if axis is None or a is None:
      return a
    a = a.reshape(*a.shape[:axis], count, a.shape[axis] // count, *a.shape[axis + 1 :])
    return _constrained(a, *(HEADS if each == axis else _ANY for each in range(a.ndim)))

  def joined(axis: int, a: jax.Array) -> jax.Array:
    return a.reshape(*a.shape[:axis], -1, *a.shape[axis + 2 :])

  args = jax.tree.map(split, axes, args, is_leaf=_is_none)
  result = jax.vmap(function, in_axes=axes, out_axes=out_axes, spmd_axis_name=HEADS)(*args)
  return jax.tree.map(joined, out_axes, result)


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


def _with_heads(args: Any, axes: Any) -> list[tuple[jax.Array, int]]:
  leaves, places = jax.tree.leaves(args, is_leaf=_is_none), jax.tree.leaves(axes, is_leaf=_is_none)
  return [(a, axis) for a, axis in zip(leaves, places, strict=True) if axis is not None]


def _is_none(leaf: Any) -> bool:
  return leaf is None


def _constrained(x: jax.Array, *spec: Any) -> jax.Array:
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
