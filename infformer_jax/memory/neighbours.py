"""The Memorizing Transformer's memory: keys and values of the past, and attention to the most similar ones.

Source: Wu, Rabe, Hutchins, Szegedy, Memorizing Transformers (ICLR 2022); published code: meliad,
transformer_layer.py, memory_on_tpu.py, attention.py. Differs from it: empty slots are masked; the memory
has its own scale, where meliad shares that of local attention, which starts at √k, so that random unit
vectors have scores of variance 1 (published: 1, with which every softmax starts nearly uniform).
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.core import attention, losses, nearest_neighbours, placement
from infformer_jax.core.pytree import pytree
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.memory.base import Memory, Site, View, identity
from infformer_jax.memory.memory_config import MemoryConfig, Traits, require_whole_segments
from infformer_jax.types import Array, Gated, Past, Project, Read, Segment, SumCount


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeighboursConfig(MemoryConfig):
  """What is kept and how it is searched.

  `layers` = None means one layer, the ninth of twelve or the proportional one; a stack sets its own layers.
  """

  kind: Literal['neighbours'] = 'neighbours'
  # The paper's is 'previous': all before this segment, so that the memory overlaps the window.
  source: Literal['evicted', 'previous'] = 'previous'
  length: int = 8192  # slots, tokens, a multiple of model.segment_length; free at evaluation and fine-tuning
  neighbours: int = 32  # j, how many slots each head of a query attends
  search: Literal['exact', 'approximate'] = 'exact'  # 'approximate': faster on a TPU; logs its recall
  initial_gate: float = 0.5  # initial share of the retrieved context in a head's context; published: .5

  def __post_init__(self) -> None:
    check_range('length', self.length, 1)
    check_range('neighbours', self.neighbours, 1)
    if self.neighbours > self.length:
      raise ConfigError(f'neighbours = {self.neighbours} must be at most length = {self.length}')
    if not 0 < self.initial_gate < 1:
      raise ConfigError(f'initial_gate = {self.initial_gate} must be in (0, 1), such as 0.5')

  @property
  def traits(self) -> Traits:
    return Traits(gated=True)

  def layers_of(self, num_layers: int) -> tuple[int, ...]:
    return super().layers_of(num_layers) if self.layers is not None else (-(-9 * num_layers // 12) - 1,)

  def check(self, segment_length: int) -> None:
    require_whole_segments(self.length, segment_length)


@pytree
class NeighboursState:
  """Ring buffers: the j-th written segment is in the slots of segment j modulo the capacity."""

  k_bmhk: Array  # unit vectors, zeros where nothing is stored yet
  v_bmhk: Array
  segments_b: Array  # int32, segments written since the start of the document


@pytree
class Stored:
  """The slots that a segment reads."""

  k_bmhk: Array
  v_bmhk: Array
  age_bm: Array  # tokens back from the segment's first token
  ok_bm: Array


class Neighbours(Memory):
  """Writes stop the gradient: keys and values remain those of the projections at the time of the write."""

  config: NeighboursConfig

  def __init__(self, config: NeighboursConfig, site: Site, *, rngs: nnx.Rngs):
    super().__init__(config, site, rngs=rngs)
    shape, gate = (site.num_heads,), config.initial_gate
    self.scale_h = nnx.Param(jnp.full(shape, math.sqrt(site.head_dim), site.param_dtype))
    self.gate_h = nnx.Param(jnp.full(shape, math.log(gate / (1 - gate)), site.param_dtype))

  @property
  def capacity(self) -> int:
    """Segments."""
    return self.config.length // self.site.segment_length

  def init_state(self, batch: int, dtype: Any) -> NeighboursState:
    shape = (batch, self.config.length, self.site.kv_heads, self.site.head_dim)
    return NeighboursState(
      k_bmhk=jnp.zeros(shape, dtype),
      v_bmhk=jnp.zeros(shape, dtype),
      segments_b=jnp.zeros((batch,), jnp.int32),
    )

  def filled(self, state: NeighboursState) -> Array:
    return state.segments_b > 0

  def write(
    self, state: NeighboursState, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> NeighboursState:
    length = self.site.segment_length
    k_blhk, v_blhk = jax.lax.stop_gradient(self.require(project)(past.x_bld))

    def put(slots_m: Array, new_l: Array, start: Array, whole: Array) -> Array:
      """Changes only the slots of one segment, for any length of the memory."""
      old_l = jax.lax.dynamic_slice_in_dim(slots_m, start, length)
      new_l = jnp.where(whole, new_l.astype(slots_m.dtype), old_l)
      return jax.lax.dynamic_update_slice_in_dim(slots_m, new_l, start, axis=0)

    where = (state.segments_b % self.capacity * length, past.whole_b)
    return NeighboursState(
      k_bmhk=jax.vmap(put)(state.k_bmhk, attention.normalized(k_blhk), *where),
      v_bmhk=jax.vmap(put)(state.v_bmhk, v_blhk, *where),
      segments_b=state.segments_b + past.whole_b.astype(state.segments_b.dtype),
    )

  def scan(
    self,
    state: NeighboursState,
    segments: Segment,
    pasts: Past,
    new_doc_bs: Array,
    project: Project | None = None,
    *,
    keys_bs: Array | None = None,
    view: View = identity,
  ) -> tuple[NeighboursState, Read]:
    """That of `Memory`. Every lane has copies of the parameters: their gradients are added up at the end."""
    memory = nnx.merge(*nnx.split(self))
    for name in ('scale_h', 'gate_h'):
      own_h = getattr(self, name)[...]
      copies_bh = jnp.broadcast_to(own_h, (len(new_doc_bs), *own_h.shape))
      setattr(memory, name, nnx.Param(placement.lanes_first(copies_bh)))
    return super(Neighbours, memory).scan(
      state, segments, pasts, new_doc_bs, project, keys_bs=keys_bs, view=view
    )

  def prepare(self, state: NeighboursState, project: Project | None = None) -> Stored:
    length = self.site.segment_length
    written_b1 = state.segments_b[:, None]
    slot_1m = jnp.arange(self.config.length, dtype=written_b1.dtype)[None]
    segment_1m, offset_1m = slot_1m // length, slot_1m % length
    back_bm = (written_b1 - 1 - segment_1m) % self.capacity  # segments written since the slot's own
    age_bm = (self.site.lag + back_bm) * length - offset_1m
    return Stored(
      k_bmhk=state.k_bmhk,
      v_bmhk=state.v_bmhk,
      age_bm=age_bm.astype(self.site.state_dtype),
      ok_bm=segment_1m < written_b1,
    )

  def answer(self, prepared: Stored, segment: Segment) -> Read:
    config, stored = self.config, prepared
    q_blhk = attention.normalized(segment.q_blhk)
    approximate = config.search == 'approximate'
    index_blhj = nearest_neighbours.search(
      q_blhk, stored.k_bmhk, stored.ok_bm, config.neighbours, approximate=approximate
    )
    ok_blhj, age_blhj = (
      jax.vmap(lambda slots_m, index_lhj: slots_m[index_lhj])(slots_bm, index_blhj)
      for slots_bm in (stored.ok_bm, stored.age_bm)
    )
    k_blhjk, v_blhjk = (
      nearest_neighbours.retrieve(slots, index_blhj) for slots in (stored.k_bmhk, stored.v_bmhk)
    )
    scale_bh, gate_bh = (jnp.atleast_2d(param[...]) for param in (self.scale_h, self.gate_h))  # See `scan`.
    context_blhk = nearest_neighbours.attend(q_blhk, k_blhjk, v_blhjk, ok_blhj, scale_bh)
    filled_b = stored.ok_bm.any(axis=1)
    gate_blh = jnp.where(filled_b[:, None, None], jax.nn.sigmoid(gate_bh)[:, None], 0)
    offset_bl11 = segment.offset_bl[:, :, None, None].astype(age_blhj.dtype)
    distance_blhj = jnp.where(ok_blhj, offset_bl11 + age_blhj, 0)
    return Read(
      gated=Gated(context_blhk=context_blhk, gate_blh=jnp.broadcast_to(gate_blh, context_blhk.shape[:3])),
      aux={'neighbours_recall': self._recall(q_blhk, stored, index_blhj, segment)} if approximate else {},
      plots={'retrieved_age_blhj': distance_blhj, 'retrieved_ok_blhj': ok_blhj},
    )

  def _recall(self, q_blhk: Array, stored: Stored, index_blhj: Array, segment: Segment) -> SumCount:
    """The fraction of an exact search's slots that was found, for all heads of each segment's first query."""
    nearest_blhj = nearest_neighbours.search(
      q_blhk[:, :1], stored.k_bmhk, stored.ok_bm, self.config.neighbours
    )
    ok_blhj = jax.vmap(lambda ok_m, index_lhj: ok_m[index_lhj])(stored.ok_bm, nearest_blhj)
    recall_blh = nearest_neighbours.recall(index_blhj[:, :1], nearest_blhj, ok_blhj)
    counts_bl = segment.ok_bl[:, :1] & (segment.offset_bl[:, :1] == 0) & stored.ok_bm.any(axis=1)[:, None]
    return losses.masked_sum(recall_blh, jnp.broadcast_to(counts_bl[:, :, None], recall_blh.shape))
