"""Without a mesh nothing changes; with one, loops over heads and lanes visit those of their own device.

Values on several devices: tests/train/test_on_meshes.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from infformer_jax.core import placement

NAMES = ('data', 'fsdp', 'tensor')
MESH = AbstractMesh((2, 2, 2), NAMES, axis_types=(AxisType.Auto,) * 3)


def constraints(function, *args, mesh=MESH):
  """The specs that the function asks for, as text."""
  with jax.sharding.use_abstract_mesh(mesh):
    jaxpr = jax.make_jaxpr(function)(*args)
  return [str(each.params['sharding'].spec) for each in jaxpr.eqns if 'sharding' in each.params]


def by_head(x_blh):
  """A function whose heads do not depend on each other, with as many heads as it gets."""
  assert x_blh.shape[2] in (4, 2)
  return jnp.cumsum(x_blh, axis=1) * x_blh.shape[2]


def test_without_a_mesh_arrays_and_functions_stay_as_they_are():
  x = jnp.arange(24.0).reshape(2, 3, 4)
  assert placement.lanes_first(x) is x
  assert placement.everywhere(x) is x
  np.testing.assert_array_equal(placement.by_shard_of_heads(by_head, (x,), (2,), 2), by_head(x))
  assert placement.by_shard_of_lanes(lambda shared, lanes: (shared, lanes), 1, x) == (1, x)


def test_lanes_are_split_where_the_devices_divide_them():
  assert constraints(placement.lanes_first, jnp.zeros((8, 3))) == ["P(('data', 'fsdp'), None)"]
  assert constraints(placement.lanes_first, jnp.zeros((6, 3))) == ['P(UNCONSTRAINED, None)']
  assert constraints(placement.everywhere, jnp.zeros((8, 3))) == ['P()']


@pytest.mark.parametrize('kind', [AxisType.Explicit, AxisType.Manual])
def test_a_mesh_of_another_type_and_other_axes_are_left_to_their_owner(kind):
  explicit = AbstractMesh((2, 2, 2), NAMES, axis_types=(kind,) * 3)
  others = AbstractMesh((2, 4), ('x', 'model'), axis_types=(AxisType.Auto,) * 2)
  for mesh in (explicit, others):
    assert constraints(placement.lanes_first, jnp.zeros((8, 3)), mesh=mesh) == []


def test_a_function_of_heads_gets_those_of_one_device_and_a_function_of_lanes_too():
  seen = []

  def heads(x_blh, shared):
    seen.append((x_blh.shape, shared.shape))
    return by_head(x_blh)

  def lanes(shared, x_bl):
    seen.append((shared.shape, x_bl.shape))
    return x_bl

  with jax.sharding.use_abstract_mesh(MESH):
    result = jax.eval_shape(
      lambda x: placement.by_shard_of_heads(heads, (x, x), (2, None), 2), jnp.zeros((2, 3, 4))
    )
    assert result.shape == (2, 3, 4)
    assert seen == [((2, 3, 2), (2, 3, 4))]
    result = jax.eval_shape(lambda x: placement.by_shard_of_lanes(lanes, x, x), jnp.zeros((8, 3)))
    assert result.shape == (8, 3)
    assert seen[1:] == [((8, 3), (2, 3))]
    # What the devices do not divide stays whole.
    jax.eval_shape(lambda x: placement.by_shard_of_lanes(lanes, x, x), jnp.zeros((6, 3)))
    assert seen[2:] == [((6, 3), (6, 3))]
