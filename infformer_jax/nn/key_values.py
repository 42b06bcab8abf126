"""The keys and values of a layer while tokens are appended one by one."""

import jax
import jax.numpy as jnp

from infformer_jax.core.pytree import pytree
from infformer_jax.types import Array


@pytree
class KeyValues:
  """Keys and values of m tokens or slots, as they enter the scores and the context; all finite.

  Rows and heads are one axis g and m is the last axis, because the products of one query per row need this
  layout: XLA for CPUs otherwise copies all keys and values for every token.
  """

  k_gkm: Array
  v_gkm: Array

  @classmethod
  def of(cls, k_bmhk: Array, v_bmhk: Array) -> 'KeyValues':
    """The keys and values of a layer in this layout."""
    return cls(k_gkm=_stored(k_bmhk), v_gkm=_stored(v_bmhk))

  def put(self, one: 'KeyValues', place_b: Array) -> 'KeyValues':
    """With m = 1 key and value of every row at its place, int [b]."""
    place_g = jnp.repeat(place_b, len(self.k_gkm) // len(place_b))
    return KeyValues(
      k_gkm=put(self.k_gkm, one.k_gkm, place_g, axis=1), v_gkm=put(self.v_gkm, one.v_gkm, place_g, axis=1)
    )

  def by_row(self, batch: int) -> tuple[Array, Array]:
    """k, v [b, m, h, k]."""
    return _viewed(self.k_gkm, batch), _viewed(self.v_gkm, batch)


def put(buffer_b: Array, new_b: Array, place_b: Array, *, axis: int) -> Array:
  """Writes one entry of every row at its place along an axis of the row."""

  def put_row(buffer: Array, new: Array, place: Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(buffer, new.astype(buffer.dtype), place, axis)

  return jax.vmap(put_row)(buffer_b, new_b, place_b)


def _stored(x_bmhk: Array) -> Array:
  _, m, _, k = x_bmhk.shape
  return x_bmhk.transpose(0, 2, 3, 1).reshape(-1, k, m)


def _viewed(x_gkm: Array, batch: int) -> Array:
  return x_gkm.reshape(batch, -1, *x_gkm.shape[1:]).transpose(0, 3, 1, 2)
