"""Attention scores with positions: windows of consecutive tokens, and keys at any age.

A segment's queries stand at offsets 0..l-1 from its first token. A key has an *age*: how many tokens it
stands before that first token (0 or negative: inside the segment). Their distance is offset + age.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Window = Literal['block', 'sliding', 'past']

MASKED = -1e30
"""A score that a softmax turns into an exact 0 beside any real one, and that stays finite in float32."""


@functools.cache
def inverse_frequencies(size: int) -> np.ndarray:
  """ω [size/2] = 10000^(-2i/size), float64, read-only: sinusoids of Vaswani et al. 2017, section 3.5."""
  omega = 1.0 / 10000.0 ** (np.arange(0, size, 2) / size)
  omega.flags.writeable = False
  return omega


def sinusoids(distance: Float[Array, '*t'], size: int) -> Float[Array, '*t d']:
  """[sin(distance·ω), cos(distance·ω)], the position encoding R of Transformer-XL (Dai et al. 2019, 3.3)."""
  angle = distance[..., None] * inverse_frequencies(size).astype(distance.dtype)
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def rotary(x: Float[Array, '*b t h k'], position: Float[Array, '*#b t']) -> Float[Array, '*b t h k']:
  """Rotates the two halves of every head by position·ω (Su et al. 2021), so that q·k depends on the distance.

  Args:
    x: queries or keys; k even.
    position: any real numbers, float32 or wider; a key of age a stands at -a.
  Returns:
    x rotated, in x's dtype.
  """
  angle = position[..., None, None] * inverse_frequencies(x.shape[-1]).astype(position.dtype)
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  first, second = jnp.split(x, 2, axis=-1)
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


def window_scores(
  q_blhk: Float[Array, '*b l h k'],
  k_bwhk: Float[Array, '*b w h k'],
  r_whk: Float[Array, 'w h k'],
  u_hk: Float[Array, 'h k'],
  v_hk: Float[Array, 'h k'],
) -> Float[Array, '*b h l w']:
  """Transformer-XL's scores, unscaled: (q + u)·k + (q + v)·r(distance), the window ending with the segment.

  Source: Dai et al. 2019, equation of section 3.3.

  Args:
    q_blhk: the segment's queries.
    k_bwhk: keys of w = M + l consecutive tokens, the last l of them the segment's own.
    r_whk: W_R R for the distances w-1 .. 0, in this order.
    u_hk, v_hk: the content and position biases.
  Returns:
    Scores; those above the diagonal are garbage that `causal` masks.
  """
  content = jnp.einsum('...lhk,...whk->...hlw', q_blhk + u_hk, k_bwhk)
  position = jnp.einsum('...lhk,whk->...hlw', q_blhk + v_hk, r_whk)
  return content + relative_shift(position)


def aged_scores(
  q_blhk: Float[Array, 'b l h k'],
  offset_bl: Float[Array, 'b l'],
  k_bmhk: Float[Array, 'b m h k'],
  age_bm: Float[Array, 'b m'],
  w_dhk: Float[Array, 'd h k'],
  u_hk: Float[Array, 'h k'],
  v_hk: Float[Array, 'h k'],
  clamp: int | None = None,
) -> Float[Array, 'b h l m']:
  """The same scores for keys of any real age: angle addition splits the distance offset + age.

  sin((i+a)ω) = sin iω cos aω + cos iω sin aω, and likewise the cosine: with z = W_R (q + v) the score is a
  dot product of something of the query with [sin aω, cos aω]: d instead of k per pair, no [l, m, d] array.
  Distances above `clamp`, if it is given, score as that one.
  """
  content = jnp.einsum('blhk,bmhk->bhlm', q_blhk + u_hk, k_bmhk)
  z_blhd = jnp.einsum('blhk,dhk->blhd', q_blhk + v_hk, w_dhk)
  size = w_dhk.shape[0]
  sin_i, cos_i = jnp.split(sinusoids(offset_bl, size)[:, :, None, :].astype(z_blhd.dtype), 2, axis=-1)
  z_sin, z_cos = jnp.split(z_blhd, 2, axis=-1)
  of_query = jnp.concatenate([z_sin * cos_i - z_cos * sin_i, z_sin * sin_i + z_cos * cos_i], axis=-1)
  of_age = sinusoids(age_bm, size).astype(z_blhd.dtype)
  position = jnp.einsum('blhd,bmd->bhlm', of_query, of_age)
  if clamp is not None:
    at_clamp_d = sinusoids(jnp.asarray(clamp, age_bm.dtype), size).astype(z_blhd.dtype)
    far_blm = offset_bl[:, :, None] + age_bm[:, None, :] > clamp
    position = jnp.where(far_blm[:, None], jnp.einsum('blhd,d->bhl', z_blhd, at_clamp_d)[..., None], position)
  return content + position


def bucket(distance: Float[Array, '*t'], *, num: int = 32, furthest: int = 128) -> Int[Array, '*t']:
  """T5's buckets of distances: num/2 of one token each, then ever longer ones, the last from `furthest` on.

  Source: Raffel et al. 2020, section 2.1; published code: mesh_tensorflow, _relative_position_bucket with
  bidirectional=False. Distances here may be fractions of tokens; negative ones are those of masked keys.

  >>> bucket(jnp.array([-3.0, 0.0, 1.5, 15.0, 16.0, 18.2, 127.0, 1000.0])).tolist()
  [0, 0, 1, 15, 16, 16, 31, 31]
  """
  exact = num // 2
  steps = jnp.log(jnp.maximum(distance, exact) / exact) / math.log(furthest / exact) * (num - exact)
  index = jnp.where(distance < exact, jnp.maximum(distance, 0), exact + steps)
  return jnp.minimum(index, num - 1).astype(jnp.int32)


def normalized(x: Float[Array, '*b k']) -> Float[Array, '*b k']:
  """x·rsqrt(Σx² + 1e-6): unit vectors, and 0 for 0. Published code: meliad, transformer_base.py."""
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  return (wide * jax.lax.rsqrt(jnp.square(wide).sum(axis=-1, keepdims=True) + 1e-6)).astype(x.dtype)


def seen(window: Window, distance: Array | np.ndarray, reach: int) -> Array | np.ndarray:
  """Whether a query sees a key of a short-term window of `reach` tokens at this distance; see `mask`."""
  if window == 'block':
    return distance >= 0
  return (distance >= 0) & (distance < reach) if window == 'sliding' else (distance > 0) & (distance <= reach)


@functools.cache
def mask(window: Window, length: int, width: int) -> np.ndarray:
  """Which keys of M + l = `width` tokens, the last l = `length` of them the segment, its queries see.

      block, l 3, M 2    sliding, l 3, M 2    past, l 3, M 2
        1 1 1 0 0           0 1 1 0 0            1 1 0 0 0
        1 1 1 1 0           0 0 1 1 0            0 1 1 0 0
        1 1 1 1 1           0 0 0 1 1            0 0 1 1 0

  block: Transformer-XL in training. All of the window, and the segment up to the query itself.
  sliding: the last M tokens, the query's own included. It is Transformer-XL's same_length
  (mem_transformer.py): its memory holds c <= M tokens, and it masks key j of c + l where j > i + c or, with
  s = M - c (where c + l > M; nothing otherwise), j <= i - s. A key's distance is i + c - j, so that the first
  says distance < 0 and the second distance >= c + s = M; where nothing is masked no distance reaches M.
  past: the M tokens strictly before the query (Memorizing Transformer; meliad, position.py).
  """
  distance = (width - length) + np.arange(length)[:, None] - np.arange(width)
  drawn = np.asarray(seen(window, distance, width - length))
  drawn.flags.writeable = False
  return drawn


def softmax(scores: Float[Array, '*b m'], ok: Bool[Array, '*#b m']) -> Float[Array, '*b m']:
  """Softmax over the last axis where ok, float32 or wider; all weights are 0 where nothing is ok."""
  scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
  return jnp.where(ok, jax.nn.softmax(jnp.where(ok, scores, MASKED), axis=-1), 0)


def attend(
  scores_bhlm: Float[Array, 'b h l m'], ok_blm: Bool[Array, 'b l m'], v_bmhk: Float[Array, 'b m h k']
) -> Float[Array, 'b l h k']:
  """The values by the softmax of their scores where ok; exactly 0 for a query that sees nothing."""
  # A weight of 0 does not keep out what is not finite.
  v_bmhk = jnp.where(ok_blm.any(axis=1)[:, :, None, None], v_bmhk, 0)
  weights_bhlm = softmax(scores_bhlm, ok_blm[:, None]).astype(v_bmhk.dtype)
  return jnp.einsum('bhlm,bmhk->blhk', weights_bhlm, v_bmhk)


def mixed(
  local_blhk: Float[Array, 'b l h k'], other_blhk: Float[Array, 'b l h k'], gate_blh: Float[Array, 'b l h']
) -> Float[Array, 'b l h k']:
  """gate·other + (1 - gate)·local, in local's dtype."""
  gate_blh1 = gate_blh[..., None]
  return (gate_blh1 * other_blhk + (1 - gate_blh1) * local_blhk).astype(local_blhk.dtype)
