"""What attention is computed from: queries, and parts of keys and values, each with its window and positions.

Offsets, ages and distances are those of core/positions.py.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from infformer_jax.core import positions
from infformer_jax.core.positions import PositionTerm
from infformer_jax.core.pytree import pytree

WindowKind = Literal['block', 'sliding', 'past']


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
  ok_bm: Array  # bool; the others are never attended and may be NaN
  age_bm: Array  # float, tokens back from the segment's first; b may be 1
  position: PositionTerm = None
  # Which keys a query sees: see `seen`. A memory's slots are seen where the distance is not negative.
  window: WindowKind = dataclasses.field(default='block', metadata={'static': True})
  reach: int = dataclasses.field(default=0, metadata={'static': True})
  # Whether all keys and values are finite, also those that are not ok: then no copy is needed to mask them.
  finite: bool = dataclasses.field(default=False, metadata={'static': True})
  # Whether the keys are m consecutive tokens, the last l of which are the tokens of the queries, in order.
  consecutive: bool = dataclasses.field(default=False, metadata={'static': True})


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
  return jnp.asarray(seen(part.window, distance(queries, part), part.reach)) & part.ok_bm[:, None, :]


def distance(queries: Queries, part: Part) -> Float[Array, 'b l m']:
  """The tokens from every key to every query."""
  return queries.offset_bl[:, :, None] + part.age_bm[:, None, :]


def by_head(x_bmgk: Float[Array, 'b m g k'], num_heads: int) -> Float[Array, 'b m h k']:
  """Grouped keys or values, repeated for the heads that share them."""
  shared = num_heads // x_bmgk.shape[2]
  return x_bmgk if shared == 1 else jnp.repeat(x_bmgk, shared, axis=2)


def finite(queries: Queries, parts: Sequence[Part]) -> list[Part]:
  """With zeros for values and keys that no query sees: a weight or gradient of 0 times NaN is NaN."""

  def cleaned(part: Part) -> Part:
    if part.finite:
      return part
    ok_bm11 = seen_by(queries, part).any(axis=1)[:, :, None, None]
    k_bmhk, v_bmhk = (jnp.where(ok_bm11, x, 0) for x in (part.k_bmhk, part.v_bmhk))
    return dataclasses.replace(part, k_bmhk=k_bmhk, v_bmhk=v_bmhk, finite=True)

  return [cleaned(part) for part in parts]


def precomputed(queries: Queries, parts: Sequence[Part]) -> list[Part]:
  """With what all heads share of the position terms."""

  def with_shared(part: Part) -> Part:
    if part.consecutive:  # `Relative`, or `Buckets` that are looked up by distance.
      return part
    term = positions.precomputed(part.position, queries.offset_bl, part.age_bm, queries.q_blhk.dtype)
    return dataclasses.replace(part, position=term)

  return [with_shared(part) for part in parts]


@pytree
class WeightDropout:
  """Dropout of the attention weights: each row draws from its own key."""

  key_b: Array
  rate: float = dataclasses.field(metadata={'static': True})
  first_head: Array | int = 0  # the number of the first head of the queries, which may be some of a layer's

  def keep(self, head_h: Array, queries: Queries, parts: Sequence[Part]) -> list[Bool[Array, 'b h l _']]:
    """Which weights of each part are kept in these heads; every row and head has its own draws."""
    ends = np.cumsum([part.ok_bm.shape[1] for part in parts]).tolist()
    shape = (queries.q_blhk.shape[1], ends[-1])

    def draw(key: Array, head: Array) -> Array:
      return jax.random.bernoulli(jax.random.fold_in(key, self.first_head + head), 1 - self.rate, shape)

    keep_bhlm = jax.vmap(jax.vmap(draw, (None, 0)), (0, None))(self.key_b, head_h)
    return jnp.split(keep_bhlm, ends[:-1], axis=-1)
