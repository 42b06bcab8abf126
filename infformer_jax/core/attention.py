"""Attention over parts: one softmax over the keys of a window and of any memories, each with its positions.

`attend` and `sum_received` are what a layer calls; the other functions are the formulas of these two.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from infformer_jax.core import attention_parts, attention_splash, attention_tiles, placement, positions
from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.attention_parts import Part as Part
from infformer_jax.core.attention_parts import Queries as Queries
from infformer_jax.core.attention_parts import WeightDropout as WeightDropout
from infformer_jax.core.attention_parts import WindowKind as WindowKind
from infformer_jax.core.attention_parts import by_head as by_head
from infformer_jax.core.attention_parts import distance
from infformer_jax.core.attention_parts import seen as seen
from infformer_jax.core.attention_parts import seen_by as seen_by
from infformer_jax.core.attention_softmax import exponentials, weighted_values
from infformer_jax.core.attention_softmax import softmax as softmax
from infformer_jax.core.positions import Buckets, Relative

MIN_SCORES = 2**20
"""Fewer scores than this, of all rows and heads, are stored: recomputing them would take longer (measured on
a CPU with 4 to 12 heads of 32 to 64, where the times are equal at about this number)."""


def attend(
  queries: Queries, parts: Sequence[Part], *, dropout: WeightDropout | None = None
) -> Float[Array, 'b l h k']:
  """The values of all parts, weighted by one softmax of their scores, in the dtype of the values.

  This is the only place that chooses an implementation of attention. For the backward pass, only the
  arguments are stored, unless the scores are few.

  Args:
    queries: of some tokens.
    parts: at least one; their order is that of the keys that `sum_received` counts.
    dropout: zeroes weights and scales the others; None: no dropout.
  Returns:
    The context of every query; exactly 0 for a query that sees no key.
  """
  if _few_scores(queries, parts):
    return _attend_whole(queries, parts, dropout)

  implementations: dict[str, Callable[..., Array]]
  implementations = {'cpu': _attend_in_tiles, 'tpu': _attend_by_head, 'cuda': _attend_by_head}
  if attention_splash.covers(queries, parts, dropout):
    implementations['tpu'] = _attend_with_splash

  def chosen(queries: Queries, parts: Sequence[Part], dropout: WeightDropout | None, head_h: Array) -> Array:
    if dropout is not None:
      dropout = dataclasses.replace(dropout, first_head=head_h[0])
    whole = jax.checkpoint(_attend_whole)
    return jax.lax.platform_dependent(queries, parts, dropout, **implementations, default=whole)

  args = queries, list(parts), dropout, jnp.arange(queries.q_blhk.shape[2])
  axes = (*attention_tiles.head_axes(args[:3]), 0)
  return placement.by_shard_of_heads(jax.checkpoint(chosen), args, axes, out_axes=2)


def sum_received(
  queries: Queries, parts: Sequence[Part], ok_bl: Bool[Array, 'b l'], *, width: int
) -> Float[Array, 'b w']:
  """The weights that the first w keys receive, summed over heads and real queries; no gradient or dropout.

  Args:
    queries, parts: as `attend` gets them.
    ok_bl: which queries are real.
    width: w.
  """
  queries, parts = jax.lax.stop_gradient((queries, list(parts)))

  def received(queries: Queries, parts: Sequence[Part], head: Array | None = None) -> Array:
    del head
    weights_bhlw = weights(queries, parts)[..., :width]
    return jnp.where(ok_bl[:, None, :, None], weights_bhlw, 0).sum(axis=(1, 2))

  def by_heads(queries: Queries, parts: Sequence[Part]) -> Array:
    parts = attention_parts.precomputed(queries, parts)
    return attention_tiles.map_heads(received, queries, parts).sum(axis=0, keepdims=True)

  if _few_scores(queries, parts):
    return received(queries, parts)
  implementations = {'cpu': by_heads, 'tpu': by_heads, 'cuda': by_heads}

  def chosen(queries: Queries, parts: Sequence[Part]) -> Array:
    default = lambda *args: received(*args)[None]  # noqa: E731
    return jax.lax.platform_dependent(queries, parts, **implementations, default=default)

  args = queries, list(parts)
  return placement.by_shard_of_heads(chosen, args, attention_tiles.head_axes(args), out_axes=0).sum(axis=0)


def content_scores(queries: Queries, part: Part) -> Float[Array, 'b h l m']:
  """q·k, unscaled."""
  k_bmhk = by_head(part.k_bmhk, queries.q_blhk.shape[2])
  return jnp.einsum('blhk,bmhk->bhlm', queries.q_blhk, k_bmhk)


def position_scores(queries: Queries, part: Part) -> Float[Array, '#b h l m'] | None:
  """The position term of the scores, unscaled; None where there is none."""
  term, q_blhk = part.position, queries.position_q_blhk
  if term is None:
    return None
  if isinstance(term, Buckets) and part.consecutive:
    return positions.consecutive_bucket_scores(term.table_jh, queries.q_blhk.shape[1], part.ok_bm.shape[1])
  term = positions.precomputed(term, queries.offset_bl, part.age_bm, queries.q_blhk.dtype)
  if isinstance(term, Buckets):
    return positions.bucket_scores(term)
  if q_blhk is None:
    raise ValueError(f'position_q_blhk = None: {type(term).__name__} positions need q + v')
  if isinstance(term, Relative):
    return positions.relative_scores(q_blhk, term.r_mhk, term.after_bl)
  return positions.aged_scores(q_blhk, term, distance(queries, part))


def scores(queries: Queries, part: Part) -> Float[Array, 'b h l m']:
  """The scores of the keys of a part, float32 or wider."""
  content, position = content_scores(queries, part), position_scores(queries, part)
  scores_bhlm = content if position is None else content + position
  scores_bhlm = scores_bhlm.astype(at_least_float32(scores_bhlm.dtype))
  if queries.scale_h is None:
    return scores_bhlm / math.sqrt(queries.q_blhk.shape[-1])
  return scores_bhlm * queries.scale_h[None, :, None, None]


def weights(queries: Queries, parts: Sequence[Part]) -> Float[Array, 'b h l m']:
  """The softmax over the keys of all parts, float32 or wider."""
  numerators, total_bhl1 = _exponentials(queries, parts)
  return jnp.concatenate(numerators, axis=-1) / total_bhl1


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


def context(
  queries: Queries,
  parts: Sequence[Part],
  keep: Sequence[Bool[Array, 'b h l _']] | None = None,
  rate: float = 0.0,
) -> Float[Array, 'b l h k']:
  """The formula of `attend`; `keep` are the weights of each part that dropout keeps."""
  ok = [seen_by(queries, part)[:, None] for part in parts]
  values = [by_head(part.v_bmhk, queries.q_blhk.shape[2]) for part in parts]
  return weighted_values(rate, [scores(queries, part) for part in parts], values, ok, keep)


def _attend_whole(queries: Queries, parts: Sequence[Part], dropout: WeightDropout | None) -> Array:
  """Whole arrays."""
  parts = attention_parts.finite(queries, parts)
  if dropout is None:
    return context(queries, parts)
  keep = dropout.keep(jnp.arange(queries.q_blhk.shape[2]), queries, parts)
  return context(queries, parts, keep, dropout.rate)


def _attend_by_head(
  queries: Queries, parts: Sequence[Part], dropout: WeightDropout | None, *, in_tiles: bool = False
) -> Array:
  """One head after another: the scores of one exist at a time."""

  @functools.partial(jax.checkpoint, prevent_cse=False)
  def of_head(queries: Queries, parts: Sequence[Part], head: Array) -> Array:
    keep = None if dropout is None else dropout.keep(head[None], queries, parts)
    formula = context if dropout is None else functools.partial(context, rate=dropout.rate)
    if in_tiles:
      return attention_tiles.map_queries(formula, queries, parts, keep)
    return formula(queries, parts, keep)

  parts = attention_parts.precomputed(queries, attention_parts.finite(queries, parts))
  context_hblk = attention_tiles.map_heads(of_head, queries, parts)[:, :, :, 0]
  return jnp.moveaxis(context_hblk, 0, 2)


_attend_in_tiles = functools.partial(_attend_by_head, in_tiles=True)
"""In tiles of queries, which fit into the caches of a CPU.

They are not used on a TPU, for which they take 2.6 times as long to compile.
"""


def _attend_with_splash(queries: Queries, parts: Sequence[Part], dropout: WeightDropout | None) -> Array:
  del dropout  # None.
  return attention_splash.attend(queries, parts)


def _few_scores(queries: Queries, parts: Sequence[Part]) -> bool:
  """Whether whole arrays are faster. For a single query they are: its keys are far larger than its scores."""
  batch, length, num_heads, _ = queries.q_blhk.shape
  return length == 1 or batch * length * num_heads * sum(part.ok_bm.shape[1] for part in parts) < MIN_SCORES


def _exponentials(queries: Queries, parts: Sequence[Part]) -> tuple[list[Array], Array]:
  ok = [seen_by(queries, part)[:, None] for part in parts]
  return exponentials([scores(queries, part) for part in parts], ok)
