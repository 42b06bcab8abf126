"""A layer's short-term window: the keys and values of a segment and of the M tokens before it.

Learned positions. A segment with n segments of its document before it has its tokens at the rows
min(n·l, M) + offset of the table, and the M tokens before it at the rows below. The first M + l tokens of a
document are thus those of GPT-2 (Radford et al. 2019) on that context. Later segments stay at M, and the
tokens before them move down by l rows per segment:

    M = 2 l        rows / l of the tokens of segment
                     0   1   2   3   4
    for segment 0    0
    for segment 1    0   1
    for segment 2    0   1   2
    for segment 3        0   1   2
    for segment 4            0   1   2

A layer's input x that was read at row p and is seen at row p' becomes x + table[p'] - table[p], before the
norm and the projections. In the first layer this is exact, without dropout. The inputs of a higher layer
depend on the position by far more than the embedding (ten times more in a small trained model), because the
layers below compute with it. Its table is the sum of the embeddings and a parameter of its own, the *drift*,
which position_drift.py measures: the mean of its inputs at every position. Even then it is an approximation
(docs/design.md). A long memory is written with the inputs as they were read: a segment is written once and
read by many, from ever farther away, and there is no row for that. With M = 0, every segment has the rows
0..l-1, as in the published code of the ∞-former.
"""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core.arrays import at_least_float32, on_last_axis
from infformer_jax.core.pytree import pytree
from infformer_jax.nn.attention import Attention
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.nn.timeline import Timeline
from infformer_jax.types import Array


@pytree
class WindowKV:
  """A segment and the M tokens before it: w = M + l keys and values, before any position."""

  k_bwhk: Array
  v_bwhk: Array
  ok_bw: Array  # bool


def rows(config: ModelConfig, since: Array, offset_l: Array | np.ndarray) -> Array:
  """The rows of learned positions of a segment's tokens: min(since·l, M) + offset; since < 0 counts as 0.

  Args:
    since: [...] int, segments of the same document before it.
    offset_l: int, tokens from its first one.
  Returns:
    [..., l] int.
  """
  first = jnp.clip(since, 0, config.short_term_length // config.segment_length) * config.segment_length
  return first[..., None] + on_last_axis(jnp.asarray(offset_l, first.dtype), first.ndim + 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
  """The window of a layer."""

  timeline: Timeline
  attention: Attention
  attention_input: Callable[[Array], Array]  # from the residual stream
  drift_td: Array | None  # of learned positions

  def of_chunk(
    self, x_btd: Array, h_btd: Array, ok_bsl: Array, since_bs: Array, positions_td: Array | None
  ) -> WindowKV:
    """Each segment with the M tokens before it: [b, s, M + l, ...].

    With stop_short_term_gradient those are projected separately, from stopped values, so that W_K and W_V
    still learn from them (Transformer-XL's training). With learned positions they are projected for each
    segment that sees them.

    Args:
      x_btd: the layer's timeline, the cache and the segments.
      h_btd: its `attention_input`.
      ok_bsl: which tokens of the segments are real.
      since_bs: int32, segments of the same document before each one.
      positions_td: the table of learned positions; None: other positions.
    """
    h_bsld = h_btd[:, self.timeline.cache_length :].reshape(*ok_bsl.shape, -1)
    own = self.attention.project(h_bsld)
    if not self.timeline.short_term_length:
      return WindowKV(k_bwhk=own[0], v_bwhk=own[1], ok_bw=ok_bsl)
    before = self._before(x_btd, h_btd, own, since_bs, positions_td)
    k_bswhk, v_bswhk = (jnp.concatenate(pair, axis=2) for pair in zip(before, own, strict=True))
    ok_bsw = jnp.concatenate([self.timeline.in_document(since_bs), ok_bsl], axis=2)
    return WindowKV(k_bwhk=k_bswhk, v_bwhk=v_bswhk, ok_bw=ok_bsw)

  def of_cache(
    self, x_btd: Array, h_btd: Array, since_b: Array, positions_td: Array | None
  ) -> tuple[Array, Array]:
    """Keys and values [b, M, ...] of the tokens before the segment that follows the cache.

    Args:
      x_btd: the cache.
      h_btd, positions_td: as in `of_chunk`.
      since_b: int32, segments of the same document before that segment.
    """
    if positions_td is None:
      return self.attention.project(h_btd[:, self.timeline.window])
    return self._projected(self._moved(x_btd, since_b[:, None], positions_td)[:, 0])

  def _before(
    self,
    x_btd: Array,
    h_btd: Array,
    own: tuple[Array, Array],
    since_bs: Array,
    positions_td: Array | None,
  ) -> Iterable[Array]:
    """Keys and values of the M tokens before each segment, [b, s, M, ...]."""
    s, length = own[0].shape[1:3]
    first, end = self.timeline.window.start, self.timeline.window.stop
    stop = self.attention.config.stop_short_term_gradient
    if positions_td is not None:
      x_bsmd = self._moved(x_btd, since_bs, positions_td)
      return self._projected(jax.lax.stop_gradient(x_bsmd) if stop else x_bsmd)
    past: Iterable[Array]
    if stop:
      past = self._projected(jax.lax.stop_gradient(x_btd[:, first : end + (s - 1) * length]))
    else:
      cached = self.attention.project(h_btd[:, first:end])
      flat = (a.reshape(a.shape[0], s * length, *a.shape[3:]) for a in own)
      past = (jnp.concatenate(pair, axis=1) for pair in zip(cached, flat, strict=True))
    return [self.timeline.windows(a_bt, s) for a_bt in past]

  def _projected(self, x: Array) -> tuple[Array, Array]:
    return self.attention.project(self.attention_input(x))

  def _moved(self, x_btd: Array, since_bs: Array, positions_td: Array) -> Array:
    """The M tokens before each segment [b, s, M, d], at the rows at which the segment sees them."""
    timeline, (b, s) = self.timeline, since_bs.shape
    config, start = self.attention.config, timeline.window.start
    length, short = timeline.segment_length, timeline.short_term_length
    x_btd = x_btd[:, start : start + short + (s - 1) * length]
    wide = at_least_float32(x_btd.dtype)  # A bfloat16 is rounded once, at the end.
    positions_td = positions_td.astype(wide)
    drift_td = jnp.zeros_like(positions_td) if self.drift_td is None else self.drift_td.astype(wide)

    # Of a segment of another document, which is not attended, the row is arbitrary.
    before_bs = since_bs[:, :1] - np.arange(short // length, 0, -1, dtype=since_bs.dtype)[None]
    since_of_read_bs = jnp.concatenate([before_bs, since_bs[:, :-1]], axis=1)
    read_bt = rows(config, since_of_read_bs, np.arange(length)).reshape(b, -1)
    seen_bsm = jnp.maximum(rows(config, since_bs, np.arange(-short, 0)), 0)
    # The cache is a constant of the chunk, and so is what it contains of the table.
    cached_bmd, new_btd = jnp.split(positions_td[read_bt], [short], axis=1)
    read_btd = jnp.concatenate([jax.lax.stop_gradient(cached_bmd), new_btd], axis=1) + drift_td[read_bt]
    seen_bsmd = positions_td[seen_bsm] + drift_td[seen_bsm]
    return (timeline.windows(x_btd - read_btd, s) + seen_bsmd).astype(x_btd.dtype)
