"""Position terms of attention scores: for consecutive tokens, and for keys of any age.

A segment's queries have the offsets 0..l-1 from its first token. A key has an *age*: the number of tokens
from it to that first token (0 or negative: inside the segment). Their distance is offset + age.
"""

import dataclasses
import functools
import math
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

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
  # Sinusoids of the offsets and of the ages, which all heads share; None: computed where they are used.
  of_offset_bld: Array | None = None
  of_age_bmd: Array | None = None


@pytree
class Buckets:
  """T5's bias per head and bucket of distances."""

  table_jh: Array
  index_blm: Array | None = None  # the buckets, which all heads share; None: computed where they are used


TermT = TypeVar('TermT', bound=Relative | Aged | Buckets | None)

PositionTerm = Relative | Aged | Buckets | None
"""None: the score depends on the content alone, or the positions are rotations of queries and keys."""


@functools.cache
def inverse_frequencies(size: int, base: float = 10_000.0) -> np.ndarray:
  """ω [size/2] = base^(-2i/size), float64, read-only: sinusoids of Vaswani et al. 2017, section 3.5."""
  omega = 1.0 / base ** (np.arange(0, size, 2) / size)
  omega.flags.writeable = False
  return omega


def sinusoids(distance: Float[Array, '*t'], size: int) -> Float[Array, '*t d']:
  """[sin(distance·ω), cos(distance·ω)], the position encoding R of Transformer-XL (Dai et al. 2019, 3.3)."""
  angle = angles(distance, inverse_frequencies(size))
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


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
  q_blhk: Float[Array, 'b l h k'], term: Aged, distance_blm: Float[Array, '#b l m']
) -> Float[Array, '#b h l m']:
  """`relative_scores` for keys of any real age: angle addition splits the distance offset + age.

  sin((i+a)ω) = sin iω cos aω + cos iω sin aω, and likewise the cosine: with z = W_R (q + v) the score is a
  dot product of a vector of the query with [sin aω, cos aω]: d instead of k per pair, no [l, m, d] array.

  Args:
    q_blhk: Transformer-XL's q + v.
    term: with its sinusoids.
    distance_blm: compared with the clamp length.
  """
  w_dhk, of_offset_bld, of_age_bmd = term.w_dhk, term.of_offset_bld, term.of_age_bmd
  assert of_offset_bld is not None
  assert of_age_bmd is not None
  z_blhd = jnp.einsum('blhk,dhk->blhd', q_blhk, w_dhk)
  sin_i, cos_i = jnp.split(of_offset_bld[:, :, None, :], 2, axis=-1)
  z_sin, z_cos = jnp.split(z_blhd, 2, axis=-1)
  of_query = jnp.concatenate([z_sin * cos_i - z_cos * sin_i, z_sin * sin_i + z_cos * cos_i], axis=-1)
  of_age_bmd = jnp.broadcast_to(of_age_bmd, (len(q_blhk), *of_age_bmd.shape[1:]))
  scores_bhlm = jnp.einsum('blhd,bmd->bhlm', of_query, of_age_bmd)
  if term.clamp_length is None:
    return scores_bhlm
  at_clamp_d = sinusoids(jnp.asarray(term.clamp_length, distance_blm.dtype), w_dhk.shape[0])
  clamped_bhl = jnp.einsum('blhd,d->bhl', z_blhd, at_clamp_d.astype(z_blhd.dtype))
  far_blm = distance_blm > term.clamp_length
  return jnp.where(far_blm[:, None], clamped_bhl[..., None], scores_bhlm)


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


def bucket_scores(term: Buckets) -> Float[Array, 'b h l m']:
  """T5's bias of every pair, for a term with the indices of its buckets."""
  assert term.index_blm is not None
  return jnp.moveaxis(term.table_jh[term.index_blm], -1, 1)


def consecutive_bucket_scores(
  table_jh: Float[Array, 'j h'], length: int, width: int
) -> Float[Array, '1 h l w']:
  """`bucket_scores` for the keys of `Relative`; entries above the diagonal must be masked.

  The bias is looked up once per distance, not per pair, and its gradient is a sum along the diagonals.
  """
  distance_w = jnp.arange(width, dtype=jnp.float32)[::-1]
  bias_hw = table_jh[bucket(distance_w, num=len(table_jh))].T
  return relative_shift(jnp.broadcast_to(bias_hw[None, :, None], (1, len(bias_hw), length, width)))


def precomputed(
  term: TermT, offset_bl: Float[Array, '#b l'], age_bm: Float[Array, '#b m'], dtype: jnp.dtype
) -> TermT:
  """The term with what all heads share: the sinusoids of `Aged`, in `dtype`, or the indices of `Buckets`."""
  if isinstance(term, Aged) and term.of_age_bmd is None:
    of_offset, of_age = (sinusoids(at, term.w_dhk.shape[0]).astype(dtype) for at in (offset_bl, age_bm))
    return dataclasses.replace(term, of_offset_bld=of_offset, of_age_bmd=of_age)
  if isinstance(term, Buckets) and term.index_blm is None:
    distance_blm = offset_bl[:, :, None] + age_bm[:, None, :]
    return dataclasses.replace(term, index_blm=bucket(distance_blm, num=len(term.table_jh)))
  return term


def angles(distance: Float[Array, '*t'], omega: np.ndarray) -> Float[Array, '*t half']:
  """distance·ω, in the dtype of the distances."""
  omega = omega.astype(distance.dtype)
  return distance[..., None] * omega.reshape((1,) * distance.ndim + omega.shape)
