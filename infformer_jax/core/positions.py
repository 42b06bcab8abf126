"""Position terms of attention scores: for consecutive tokens, and for keys of any age.

A segment's queries have the offsets 0..l-1 from its first token. A key has an *age*: the number of tokens
from it to that first token (0 or negative: inside the segment). Their distance is offset + age.
"""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.pytree import pytree


@pytree
class Relative:
  """Transformer-XL's (q + v)·r(distance), for m consecutive keys, among them the queries' own."""

  r_mhk: Array  # W_R R for the distances m-1 .. 0, in this order
  after_bl: Array | None = None  # int, how many keys follow the query's own; None: l-1 .. 0


@pytree
class Aged:
  """The same for keys of any age. Distances above `clamp_length`, if it is given, score as that distance."""

  w_dhk: Array  # W_R
  clamp_length: int | None = dataclasses.field(default=None, metadata={'static': True})


@pytree
class Buckets:
  """T5's bias per head and bucket of distances."""

  table_jh: Array


PositionTerm = Relative | Aged | Buckets | None
"""None: the score depends on the content alone, or the positions are rotations of queries and keys."""


@functools.cache
def inverse_frequencies(size: int) -> np.ndarray:
  """ω [size/2] = 10000^(-2i/size), float64, read-only: sinusoids of Vaswani et al. 2017, section 3.5."""
  omega = 1.0 / 10000.0 ** (np.arange(0, size, 2) / size)
  omega.flags.writeable = False
  return omega


def sinusoids(distance: Float[Array, '*t'], size: int) -> Float[Array, '*t d']:
  """[sin(distance·ω), cos(distance·ω)], the position encoding R of Transformer-XL (Dai et al. 2019, 3.3)."""
  angle = _angles(distance, size)
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def rotary(x: Float[Array, '*b t h k'], position: Float[Array, '*#b t']) -> Float[Array, '*b t h k']:
  """Rotates the two halves of every head by position·ω (Su et al. 2021), so that q·k depends on the distance.

  Args:
    x: queries or keys; k even.
    position: any real numbers, float32 or wider; a key of age a is at -a.
  Returns:
    x rotated, in x's dtype.
  """
  angle = _angles(position, x.shape[-1])[..., None, :]
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  first, second = jnp.split(x.astype(at_least_float32(x.dtype, angle.dtype)), 2, axis=-1)
  rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return rotated.astype(x.dtype)


def relative_shift(scores: Float[Array, '*b l w']) -> Float[Array, '*b l w']:
  """Moves row i left by l-1-i, so that column j of row i holds the score at distance i + (w-l) - j.

      columns by distance, w = 4, l = 2        columns by key (x: above the diagonal, to be masked)
      query 0:  3  2  1  0                     2  1  0  x
      query 1:  3  2  1  0                     3  2  1  0

  Source: Dai et al. 2019, appendix B; published code: mem_transformer.py, _rel_shift.
  """
  *batch, length, width = scores.shape
  padded = jnp.concatenate([jnp.zeros((*batch, length, 1), scores.dtype), scores], axis=-1)
  return padded.reshape(*batch, width + 1, length)[..., 1:, :].reshape(*batch, length, width)


def relative_scores(
  q_blhk: Float[Array, 'b l h k'], r_mhk: Float[Array, 'm h k'], after_bl: Int[Array, 'b l'] | None = None
) -> Float[Array, 'b h l m']:
  """q·r(distance), unscaled; the scores of keys after the query's own are meaningless and must be masked.

  Source: Dai et al. 2019, equation of section 3.3.

  Args:
    q_blhk: Transformer-XL's q + v.
    r_mhk, after_bl: of `Relative`.
  """
  scores_bhlm = jnp.einsum('blhk,mhk->bhlm', q_blhk, r_mhk)
  if after_bl is None:
    return relative_shift(scores_bhlm)
  column_blm = after_bl[:, :, None] + jnp.arange(len(r_mhk), dtype=after_bl.dtype)[None, None]
  return jnp.take_along_axis(scores_bhlm, column_blm[:, None], axis=-1, mode='clip')


def aged_scores(
  q_blhk: Float[Array, 'b l h k'],
  offset_bl: Float[Array, '#b l'],
  age_bm: Float[Array, '#b m'],
  w_dhk: Float[Array, 'd h k'],
  clamp_length: int | None = None,
) -> Float[Array, '#b h l m']:
  """`relative_scores` for keys of any real age: angle addition splits the distance offset + age.

  sin((i+a)ω) = sin iω cos aω + cos iω sin aω, and likewise the cosine: with z = W_R (q + v) the score is a
  dot product of a vector of the query with [sin aω, cos aω]: d instead of k per pair, no [l, m, d] array.

  Args:
    q_blhk: Transformer-XL's q + v.
    offset_bl, age_bm: tokens; b may be 1.
    w_dhk: W_R.
    clamp_length: distances above it score as it does; None: no limit.
  """
  z_blhd = jnp.einsum('blhk,dhk->blhd', q_blhk, w_dhk)
  size = w_dhk.shape[0]
  sin_i, cos_i = jnp.split(sinusoids(offset_bl, size)[:, :, None, :].astype(z_blhd.dtype), 2, axis=-1)
  z_sin, z_cos = jnp.split(z_blhd, 2, axis=-1)
  of_query = jnp.concatenate([z_sin * cos_i - z_cos * sin_i, z_sin * sin_i + z_cos * cos_i], axis=-1)
  of_age = sinusoids(age_bm, size).astype(z_blhd.dtype)
  of_age = jnp.broadcast_to(of_age, (len(q_blhk), *of_age.shape[1:]))
  scores_bhlm = jnp.einsum('blhd,bmd->bhlm', of_query, of_age)
  if clamp_length is None:
    return scores_bhlm
  at_clamp_d = sinusoids(jnp.asarray(clamp_length, age_bm.dtype), size).astype(z_blhd.dtype)
  far_blm = offset_bl[:, :, None] + age_bm[:, None, :] > clamp_length
  return jnp.where(far_blm[:, None], jnp.einsum('blhd,d->bhl', z_blhd, at_clamp_d)[..., None], scores_bhlm)


def bucket(distance: Float[Array, '*t'], *, num: int = 32, furthest: int = 128) -> Int[Array, '*t']:
  """T5's buckets of distances: num/2 of one token each, then wider ones; the last starts at `furthest`.

  Source: Raffel et al. 2020, section 2.1; published code: mesh_tensorflow, _relative_position_bucket with
  bidirectional=False. Distances here may be fractions of tokens; negative ones are those of masked keys.

  >>> bucket(jnp.array([-3.0, 0.0, 1.5, 15.0, 16.0, 18.2, 127.0, 1000.0])).tolist()
  [0, 0, 1, 15, 16, 16, 31, 31]
  """
  exact = num // 2
  steps = jnp.log(jnp.maximum(distance, exact) / exact) / math.log(furthest / exact) * (num - exact)
  index = jnp.where(distance < exact, jnp.maximum(distance, 0), exact + steps)
  return jnp.minimum(index, num - 1).astype(jnp.int32)


def bucket_scores(
  table_jh: Float[Array, 'j h'], distance_blm: Float[Array, 'b l m']
) -> Float[Array, 'b h l m']:
  """T5's bias of every pair; one bucket per row of the table."""
  return jnp.moveaxis(table_jh[bucket(distance_blm, num=len(table_jh))], -1, 1)


def _angles(distance: Float[Array, '*t'], size: int) -> Float[Array, '*t half']:
  """distance·ω."""
  omega = inverse_frequencies(size).astype(distance.dtype)
  return distance[..., None] * omega.reshape((1,) * distance.ndim + omega.shape)
