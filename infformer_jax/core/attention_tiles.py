"""Attention in pieces: one head after another, in tiles of queries with the keys that they see.

The scores of one piece exist at a time, instead of those of all rows and heads. Rows are not divided, so that
they may be sharded over devices. The formula itself is an argument.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from infformer_jax.core.attention_parts import Part, Queries, by_head
from infformer_jax.core.positions import Aged, Buckets, PositionTerm, Relative

MIN_QUERIES, MAX_TILES = 128, 4
"""Each tile adds to the program; larger tiles compute more scores of keys that their queries do not see."""

_HEAD_AXES = {
  'q_blhk': 2,
  'position_q_blhk': 2,
  'scale_h': 0,
  'k_bmhk': 2,
  'v_bmhk': 2,
  'r_mhk': 1,
  'w_dhk': 1,
  'table_jh': 1,
}
"""The axis of the heads in the fields of `Queries`, `Part` and its position; heads share the other fields."""


def head_axes(tree: Any) -> list[int | None]:
  """The axis of the heads of every leaf of queries and parts, in order; None: heads share it."""
  return [_HEAD_AXES.get(getattr(path[-1], 'name', '')) for path, _ in jax.tree.leaves_with_path(tree)]


def map_heads(
  f: Callable[[Queries, list[Part], Array], Array], queries: Queries, parts: Sequence[Part]
) -> Float[Array, 'h *r']:
  """f(queries, parts, index) of every head, one after another; its arguments have one head.

  Keys that heads share are repeated: a head is the smallest piece, and gradients are not carried along.
  """
  num_heads = queries.q_blhk.shape[2]
  repeated = [
    dataclasses.replace(part, k_bmhk=by_head(part.k_bmhk, num_heads), v_bmhk=by_head(part.v_bmhk, num_heads))
    for part in parts
  ]
  paths, structure = jax.tree_util.tree_flatten_with_path((queries, repeated))
  leaves, axes = [leaf for _, leaf in paths], [_HEAD_AXES.get(path[-1].name) for path, _ in paths]
  # The axis of size 1 is added outside of the loop, which would store its own copies for the backward pass.
  own = [
    jnp.moveaxis(jnp.expand_dims(leaf, axis + 1), axis, 0)
    for leaf, axis in zip(leaves, axes, strict=True)
    if axis is not None
  ]

  def of_head(xs: tuple[list[Array], Array]) -> Array:
    own = iter(xs[0])
    merged = [leaf if axis is None else next(own) for leaf, axis in zip(leaves, axes, strict=True)]
    queries, parts = jax.tree.unflatten(structure, merged)
    return f(queries, parts, xs[1])

  return jax.lax.map(of_head, (own, jnp.arange(num_heads)))


def map_queries(
  f: Callable[..., Float[Array, 'b t h k']],
  queries: Queries,
  parts: Sequence[Part],
  keep: Sequence[Array] | None = None,
) -> Float[Array, 'b l h k']:
  """f(queries, parts, keep) in tiles of at least `MIN_QUERIES` queries, concatenated.

  Args:
    f: a function whose result has one row per query.
    queries, parts: all of them.
    keep: for every part an array [b, h, l, m].
  """
  length = queries.q_blhk.shape[1]
  count = max(MIN_QUERIES, -(-length // MAX_TILES))
  results = []
  for first in range(0, length, count):
    rows = slice(first, min(first + count, length))
    spans = [_span(part, rows, length) for part in parts]
    kept = keep and [each[:, :, rows, span] for each, span in zip(keep, spans, strict=True)]
    tiles = [_part_of(part, rows, span) for part, span in zip(parts, spans, strict=True)]
    results.append(f(_queries_of(queries, rows), tiles, kept))
  return jnp.concatenate(results, axis=1)


def _span(part: Part, rows: slice, length: int) -> slice:
  """Where the keys are that some of these queries may see; the last is that of the last query."""
  width = part.ok_bm.shape[1]
  at_the_end = isinstance(part.position, Relative) and part.position.after_bl is None
  if not (part.consecutive or at_the_end):
    return slice(0, width)
  past = width - length
  oldest = 0 if part.window == 'block' else max(0, past + rows.start - part.reach)
  return slice(oldest, past + rows.stop)


def _queries_of(queries: Queries, rows: slice) -> Queries:
  position_q_blhk = queries.position_q_blhk
  return dataclasses.replace(
    queries,
    q_blhk=queries.q_blhk[:, rows],
    offset_bl=queries.offset_bl[:, rows],
    position_q_blhk=None if position_q_blhk is None else position_q_blhk[:, rows],
  )


def _part_of(part: Part, rows: slice, span: slice) -> Part:
  return dataclasses.replace(
    part,
    k_bmhk=part.k_bmhk[:, span],
    v_bmhk=part.v_bmhk[:, span],
    ok_bm=part.ok_bm[:, span],
    age_bm=part.age_bm[:, span],
    position=_position_of(part.position, rows, span),
  )


def _position_of(term: PositionTerm, rows: slice, span: slice) -> PositionTerm:
  if isinstance(term, Relative):
    if term.after_bl is not None:
      return dataclasses.replace(term, after_bl=term.after_bl[:, rows])
    width = span.stop - span.start  # The last row is that of the distance 0.
    return dataclasses.replace(term, r_mhk=term.r_mhk[len(term.r_mhk) - width :])
  if isinstance(term, Aged):
    offset, age = term.of_offset_bld, term.of_age_bmd
    assert offset is not None
    assert age is not None
    return dataclasses.replace(term, of_offset_bld=offset[:, rows], of_age_bmd=age[:, span])
  if isinstance(term, Buckets) and term.index_blm is not None:
    return dataclasses.replace(term, index_blm=term.index_blm[:, rows, span])
  return term
