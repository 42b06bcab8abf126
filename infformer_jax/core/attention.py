"""Attention over parts: one softmax over the keys of a window and of any memories, each with its positions.

`attend` and `sum_received` are what a layer calls; the other functions are the formulas of these two.
Offsets, ages and distances are those of core/positions.py.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from infformer_jax.core import positions
from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.positions import Buckets, PositionTerm, Relative
from infformer_jax.core.pytree import pytree

WindowKind = Literal['block', 'sliding', 'past']

MASKED = -1e30
"""A score whose weight is exactly 0 if any other key is seen; finite in float32."""


@pytree
class Queries:
  """The queries of some tokens of a segment."""

  # Multiplied with the keys: normalized, rotated, with Transformer-XL's u added, where the layer does so.
  q_blhk: Array
  offset_bl: Array  # float, tokens from the segment's first; b may be 1
  position_q_blhk: Array | None = None  # Transformer-XL's q + v, for parts with `Relative` or `Aged`
  scale_h: Array | None = None  # factor of the scores of each head; None: 1/√k


@pytree
class Part:
  """Some keys of one softmax. With fewer heads than the queries, each serves a group of consecutive heads."""

  k_bmhk: Array  # normalized and rotated, where the layer does so
  v_bmhk: Array
  ok_bm: Array  # bool; the others are never attended; in the forward pass they may be NaN
  age_bm: Array  # float, tokens back from the segment's first; b may be 1
  position: PositionTerm = None
  # Which keys a query sees: see `seen`. A memory's slots are seen where the distance is not negative.
  window: WindowKind = dataclasses.field(default='block', metadata={'static': True})
  reach: int = dataclasses.field(default=0, metadata={'static': True})
  # Whether all keys and values are finite, also those that are not ok: then no copy is needed to mask them.
  finite: bool = dataclasses.field(default=False, metadata={'static': True})


@pytree
class WeightDropout:
  """Dropout of the attention weights: each row draws from its own key."""

  key_b: Array
  rate: float = dataclasses.field(metadata={'static': True})


def attend(
  queries: Queries, parts: Sequence[Part], *, dropout: WeightDropout | None = None
) -> Float[Array, 'b l h k']:
  """The values of all parts, weighted by one softmax of their scores, in the dtype of the values.

  This is the only place that chooses an implementation of attention.

  Args:
    queries: of some tokens.
    parts: at least one; their order is that of the keys that `sum_received` counts.
    dropout: zeroes weights and scales the others; None: no dropout.
  Returns:
    The context of every query; exactly 0 for a query that sees no key.
  """
  num_heads = queries.q_blhk.shape[2]

  def values(part: Part) -> Array:
    v_bmhk = part.v_bmhk
    if not part.finite:  # A weight of 0 times NaN is NaN.
      v_bmhk = jnp.where(seen_by(queries, part).any(axis=1)[:, :, None, None], v_bmhk, 0)
    return by_head(v_bmhk, num_heads)

  v_bmhk = jnp.concatenate([values(part) for part in parts], axis=1)
  weights_bhlm = weights(queries, parts)
  if dropout is not None:
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - dropout.rate, weights_bhlm.shape[1:]))
    weights_bhlm = jnp.where(keep(dropout.key_b), weights_bhlm / (1 - dropout.rate), 0)
  return jnp.einsum('bhlm,bmhk->blhk', weights_bhlm.astype(v_bmhk.dtype), v_bmhk)


def sum_received(
  queries: Queries, parts: Sequence[Part], ok_bl: Bool[Array, 'b l'], *, width: int
) -> Float[Array, 'b w']:
  """The weights that the first w keys receive, summed over heads and real queries; no gradient or dropout.

  Args:
    queries, parts: as `attend` gets them.
    ok_bl: which queries are real.
    width: w.
  """
  weights_bhlw = jax.lax.stop_gradient(weights(queries, parts)[..., :width])
  return jnp.where(ok_bl[:, None, :, None], weights_bhlw, 0).sum(axis=(1, 2))


def seen(window: WindowKind, distance: Array | np.ndarray, reach: int) -> Array | np.ndarray:
  """Whether a query sees a key at this distance. M = `reach` tokens of the past and l of the segment:

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
  if window == 'block':
    return distance >= 0
  return (distance >= 0) & (distance < reach) if window == 'sliding' else (distance > 0) & (distance <= reach)


def seen_by(queries: Queries, part: Part) -> Bool[Array, 'b l m']:
  """Which keys of the part every query sees."""
  return jnp.asarray(seen(part.window, _distance(queries, part), part.reach)) & part.ok_bm[:, None, :]


def by_head(x_bmgk: Float[Array, 'b m g k'], num_heads: int) -> Float[Array, 'b m h k']:
  """Grouped keys or values, repeated for the heads that share them."""
  shared = num_heads // x_bmgk.shape[2]
  return x_bmgk if shared == 1 else jnp.repeat(x_bmgk, shared, axis=2)


def content_scores(queries: Queries, part: Part) -> Float[Array, 'b h l m']:
  """q·k, unscaled."""
  k_bmhk = by_head(part.k_bmhk, queries.q_blhk.shape[2])
  return jnp.einsum('blhk,bmhk->bhlm', queries.q_blhk, k_bmhk)


def position_scores(queries: Queries, part: Part) -> Float[Array, '#b h l m'] | None:
  """The position term of the scores, unscaled; None where there is none."""
  term = part.position
  if isinstance(term, Buckets):
    return positions.bucket_scores(term.table_jh, _distance(queries, part))
  if term is None:
    return None
  if (q_blhk := queries.position_q_blhk) is None:
    raise ValueError(f'position_q_blhk = None: {type(term).__name__} positions need q + v')
  if isinstance(term, Relative):
    return positions.relative_scores(q_blhk, term.r_mhk, term.after_bl)
  return positions.aged_scores(q_blhk, queries.offset_bl, part.age_bm, term.w_dhk, term.clamp_length)


def weights(queries: Queries, parts: Sequence[Part]) -> Float[Array, 'b h l m']:
  """The softmax over the keys of all parts, float32 or wider."""
  scores, wide = [], at_least_float32(queries.q_blhk.dtype)
  for part in parts:
    content, position = content_scores(queries, part), position_scores(queries, part)
    scores.append((content if position is None else content + position).astype(wide))
  scores_bhlm = jnp.concatenate(scores, axis=-1)
  if queries.scale_h is None:
    scores_bhlm = scores_bhlm / math.sqrt(queries.q_blhk.shape[-1])
  else:
    scores_bhlm = scores_bhlm * queries.scale_h[None, :, None, None]
  ok_blm = jnp.concatenate([seen_by(queries, part) for part in parts], axis=-1)
  return softmax(scores_bhlm, ok_blm[:, None])


def softmax(scores: Float[Array, '*b m'], ok: Bool[Array, '*#b m']) -> Float[Array, '*b m']:
  """Softmax over the last axis where ok, float32 or wider; all weights are 0 where nothing is ok."""
  scores = scores.astype(at_least_float32(scores.dtype))
  return jnp.where(ok, jax.nn.softmax(jnp.where(ok, scores, MASKED), axis=-1), 0)


def normalized(x: Float[Array, '*b k']) -> Float[Array, '*b k']:
  """x·rsqrt(Σx² + 1e-6): unit vectors, and 0 for 0. Published code: meliad, transformer_base.py."""
  wide = x.astype(at_least_float32(x.dtype))
  return (wide * jax.lax.rsqrt(jnp.square(wide).sum(axis=-1, keepdims=True) + 1e-6)).astype(x.dtype)


def mixed(
  local_blhk: Float[Array, 'b l h k'], other_blhk: Float[Array, 'b l h k'], gate_blh: Float[Array, 'b l h']
) -> Float[Array, 'b l h k']:
  """gate·other + (1 - gate)·local, in local's dtype."""
  gate_blh1 = gate_blh[..., None]
  return (gate_blh1 * other_blhk + (1 - gate_blh1) * local_blhk).astype(local_blhk.dtype)


def _distance(queries: Queries, part: Part) -> Float[Array, 'b l m']:
  return queries.offset_bl[:, :, None] + part.age_bm[:, None, :]
