"""The recent past, token by token: Transformer-XL's cache (Dai et al. 2019) as a memory.

The trunk's short-term memory is the same with lag 1, as a part of the local window; both are static windows
of one timeline. As a long memory it extends that window by the tokens that have left it.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core.pytree import pytree
from infformer_jax.memory.base import Memory, View, identity, segments_back
from infformer_jax.memory.memory_config import MemoryConfig, Traits, require_whole_segments
from infformer_jax.types import Array, Past, Project, Read, Segment, Slots


def windows(x_bt: Array, *, start: int, size: int, stride: int, count: int) -> Array:
  """`count` windows of `size` steps, the first at `start`: [b, t, ...] -> [b, count, size, ...]."""
  return x_bt[:, start + stride * np.arange(count)[:, None] + np.arange(size)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecentConfig(MemoryConfig):
  """The last `length` tokens of the past, exactly."""

  kind: Literal['recent'] = 'recent'
  length: int = 512  # tokens, a multiple of model.segment_length; free at evaluation

  @property
  def traits(self) -> Traits:
    return Traits(learns_writes=True, gives_slots=True)

  def check(self, segment_length: int) -> None:
    require_whole_segments(self.length, segment_length)


@pytree
class RecentState:
  """The stored past, newest last."""

  x_bmd: Array  # zeros where nothing is stored yet
  segments_b: Array  # int32, number of stored segments


class Recent(Memory):
  """A first-in, first-out queue of attention inputs, read through the layer's own W_K, W_V."""

  config: RecentConfig

  @property
  def capacity(self) -> int:
    """Segments."""
    return self.config.length // self.site.segment_length

  def init_state(self, batch: int, dtype: Any) -> RecentState:
    x_bmd = jnp.zeros((batch, self.config.length, self.site.d_model), dtype)
    return RecentState(x_bmd=x_bmd, segments_b=jnp.zeros((batch,), jnp.int32))

  def filled(self, state: RecentState) -> Array:
    return state.segments_b > 0

  def write(
    self, state: RecentState, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> RecentState:
    length = self.site.segment_length
    pushed_bmd = jnp.concatenate([state.x_bmd[:, length:], past.x_bld.astype(state.x_bmd.dtype)], axis=1)
    segments_b = jnp.minimum(state.segments_b + 1, self.capacity)
    return RecentState(
      x_bmd=jnp.where(past.whole_b[:, None, None], pushed_bmd, state.x_bmd),
      segments_b=jnp.where(past.whole_b, segments_b, state.segments_b),
    )

  def prepare(self, state: RecentState, project: Project | None = None) -> Slots:
    k_bmhk, v_bmhk = self.require(project)(state.x_bmd)
    return self._slots(k_bmhk, v_bmhk, state.segments_b)

  def answer(self, prepared: Slots, segment: Segment) -> Read:
    return Read(slots=(prepared,))

  def scan(
    self,
    state: RecentState,
    segments: Segment,
    pasts: Past,
    new_doc_bs: Array,
    project: Project | None = None,
    *,
    keys_bs: Array | None = None,
    view: View = identity,
  ) -> tuple[RecentState, Read]:
    """Projects the timeline once and scans only the counters. Other views use the default scan."""
    if view is not identity:
      return super().scan(state, segments, pasts, new_doc_bs, project, keys_bs=keys_bs, view=view)

    def count(stored_b: Array, new_and_whole: tuple[Array, Array]) -> tuple[Array, Array]:
      new_b, whole_b = new_and_whole
      stored_b = jnp.minimum(jnp.where(new_b, 0, stored_b) + whole_b.astype(stored_b.dtype), self.capacity)
      return stored_b, stored_b

    _, stored_sb = jax.lax.scan(count, state.segments_b, (new_doc_bs.T, pasts.whole_b.T))
    batch, num, length = pasts.x_bld.shape[:3]
    past_btd = pasts.x_bld.reshape(batch, num * length, -1).astype(state.x_bmd.dtype)
    timeline_btd = jnp.concatenate([state.x_bmd, past_btd], axis=1)
    k_bthk, v_bthk = self.require(project)(timeline_btd)
    place = {'start': length, 'size': self.config.length, 'stride': length, 'count': num}
    slots = jax.vmap(self._slots, in_axes=(1, 1, 0), out_axes=1)(
      windows(k_bthk, **place), windows(v_bthk, **place), stored_sb
    )
    last_bmd = timeline_btd[:, -self.config.length :]
    last_bmd = jnp.where(self._ok(stored_sb[-1])[:, :, None], last_bmd, 0)
    ok_bs = jnp.ones_like(new_doc_bs)
    return RecentState(x_bmd=last_bmd, segments_b=stored_sb[-1]), Read(slots=(slots,), ok_b=ok_bs)

  def _ok(self, segments_b: Array) -> Array:
    """ok_bm: slots whose segment, counted from the newest, is among the stored ones."""
    back_m = segments_back(self.config.length, self.site.segment_length)
    return jnp.asarray(back_m, segments_b.dtype)[None] < segments_b[:, None]

  def _slots(self, k_bmhk: Array, v_bmhk: Array, segments_b: Array) -> Slots:
    age_m = jnp.asarray(self.site.ages(self.config.length), self.site.state_dtype)
    age_bm = jnp.broadcast_to(age_m[None], k_bmhk.shape[:2])
    return Slots(k_bmhk=k_bmhk, v_bmhk=v_bmhk, age_bm=age_bm, ok_bm=self._ok(segments_b))
