"""The Compressive Transformer's memory: evicted segments are compressed and kept longer (Rae et al. 2020).

Every written segment of l tokens becomes l/c slots of a first-in, first-out queue. The slots are read through
the layer's own W_K, W_V and join the local softmax. With c = 4, slots reach four times as far back as the
same number of cached tokens in Transformer-XL.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core import compression, losses
from infformer_jax.core.pytree import pytree
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.memory import rows
from infformer_jax.memory.base import Memory, Site, View, identity, segments_back
from infformer_jax.memory.compressor import LEARNED, Compressor, Decoder
from infformer_jax.memory.memory_config import MemoryConfig, Traits
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment, Slots, SumCount


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressiveConfig(MemoryConfig):
  """The past at 1/rate of its resolution.

  The losses train only the compressor (and the decoder of 'auto_encoding'). The language model's loss also
  trains the compressor, through the reads.
  """

  kind: Literal['compressive'] = 'compressive'
  length: int = 512  # slots, a multiple of model.segment_length / rate; free at evaluation
  rate: int = 4  # c, tokens per slot; divides model.segment_length
  compression: Literal['mean', 'max', 'convolution', 'dilated', 'most_used'] = 'convolution'
  # 'attention' compares what the next segment's queries read from the tokens and from their slots;
  # 'auto_encoding' compares the tokens with those decoded from the slots.
  loss: Literal['attention', 'auto_encoding'] | None = 'attention'
  loss_weight: float = 1.0
  # 'age': the position of a slot is the mean age of its tokens (for 'most_used', the age of its token).
  # 'index', as published: slots continue the positions of the short-term memory, one position each.
  positions: Literal['age', 'index'] = 'age'

  @property
  def traits(self) -> Traits:
    return Traits(learns_writes=True, gives_slots=True, uses_attention=self.compression == 'most_used')

  def check(self, segment_length: int) -> None:
    compression.check_rate(segment_length, self.rate)
    slots = segment_length // self.rate
    check_range('length', self.length, 1)
    if self.length % slots:
      lower = max(1, self.length // slots) * slots
      raise ConfigError(
        f'length = {self.length} must be a multiple of the {slots} slots of a segment '
        f'(model.segment_length / rate = {segment_length} / {self.rate}); use {lower} or {lower + slots}'
      )
    if self.loss is not None and self.compression not in LEARNED:
      raise ConfigError(
        f"loss = '{self.loss}' needs a learned compression, not compression = '{self.compression}'; "
        f'use loss = None or compression = {" or ".join(map(repr, LEARNED))}'
      )
    if self.loss_weight < 0:
      raise ConfigError(f'loss_weight = {self.loss_weight} must not be negative')


@pytree
class CompressiveState:
  """The slots, newest last."""

  x_bmd: Array  # zeros where nothing is stored yet
  index_bm: Array | None  # int32, most_used: the token of its segment that a slot holds
  segments_b: Array  # int32, number of stored segments
  old_bld: Array | None  # the segment that was written last, where a loss compares it with its slots


def without_weights(project: Project, x_btd: Array) -> tuple[Array, Array]:
  """project(x) with a gradient only to x, not to the weights that the function holds or closes over."""
  closed, weights = jax.closure_convert(project, x_btd)
  return closed(x_btd, *jax.lax.stop_gradient(weights))


class Compressive(Memory):
  """A queue of compressed attention inputs, read through the layer's own W_K, W_V.

  The attention-reconstruction loss uses the queries of the first segment that reads the slots instead of the
  tokens. The paper and the port use those of the segment before, the last that reads the tokens. Its scores
  are q·k/√k, without the terms (u of Transformer-XL, positions) and normalization of the trunk's scores.
  """

  config: CompressiveConfig

  def __init__(self, config: CompressiveConfig, site: Site, *, rngs: nnx.Rngs):
    super().__init__(config, site, rngs=rngs)
    self.compressor = Compressor(config, site.d_model, site.param_dtype, rngs=rngs)
    if config.loss == 'auto_encoding':
      self.decoder = Decoder(config.rate, site.d_model, site.param_dtype, rngs=rngs)

  @property
  def per_segment(self) -> int:
    """Slots of one segment."""
    return self.site.segment_length // self.config.rate

  def aux_weights(self) -> dict[str, float]:
    return {self.config.loss: self.config.loss_weight} if self.config.loss else {}

  def init_state(self, batch: int, dtype: Any) -> CompressiveState:
    num, d, length = self.config.length, self.site.d_model, self.site.segment_length
    return CompressiveState(
      x_bmd=jnp.zeros((batch, num, d), dtype),
      index_bm=jnp.zeros((batch, num), jnp.int32) if self.traits.uses_attention else None,
      segments_b=jnp.zeros((batch,), jnp.int32),
      old_bld=jnp.zeros((batch, length, d), dtype) if self.config.loss else None,
    )

  def filled(self, state: CompressiveState) -> Array:
    return state.segments_b > 0

  def write(
    self, state: CompressiveState, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> CompressiveState:
    return self._pushed(state, self._compressed(past), past)

  def scan(
    self,
    state: CompressiveState,
    segments: Segment,
    pasts: Past,
    new_doc_bs: Array,
    project: Project | None = None,
    *,
    keys_bs: Array | None = None,
    view: View = identity,
  ) -> tuple[CompressiveState, Read]:
    """Only the queue passes from one segment to the next."""

    def step(state: CompressiveState, xs: Any) -> tuple[CompressiveState, tuple[CompressiveState, Array]]:
      new, past, new_doc_b = xs
      state = self._pushed(self.reset(state, new_doc_b), new, past)
      return state, view(self, state)

    new = rows.by_segment(self._compressed(rows.rows(pasts)), new_doc_bs.shape[1])
    state, (viewed, ok_bs) = rows.scan(step, state, (new, pasts, new_doc_bs))
    return state, rows.read(self, viewed, ok_bs, segments, project)

  def prepare(self, state: CompressiveState, project: Project | None = None) -> PyTree:
    project = self.require(project)
    k_bmhk, v_bmhk = project(state.x_bmd)
    slots = Slots(
      k_bmhk=k_bmhk,
      v_bmhk=v_bmhk,
      age_bm=jnp.broadcast_to(self._ages(state), k_bmhk.shape[:2]),
      ok_bm=jnp.asarray(self._segments_back, state.segments_b.dtype) < state.segments_b[:, None],
    )
    return slots, self._compared(state, project), self.filled(state)

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    slots, compared, filled_b = prepared
    return Read(slots=(slots,), aux=self._aux(compared, segment, segment.ok_bl & filled_b[:, None]))

  def _pushed(self, state: CompressiveState, new: tuple[Array, Array | None], past: Past) -> CompressiveState:
    """The state after the write of a segment, of which `_compressed` has made the new slots."""
    capacity = self.config.length // self.per_segment

    def pushed(queue_bm: Array, new_bm: Array) -> Array:
      return jnp.concatenate([queue_bm[:, self.per_segment :], new_bm.astype(queue_bm.dtype)], axis=1)

    x_bmd, index_bm = jax.tree.map(pushed, (state.x_bmd, state.index_bm), new)
    written = CompressiveState(
      x_bmd=x_bmd,
      index_bm=index_bm,
      segments_b=jnp.minimum(state.segments_b + 1, capacity),
      old_bld=None if state.old_bld is None else past.x_bld.astype(state.old_bld.dtype),
    )

    def choose(new: Array, old: Array) -> Array:
      return jnp.where(past.whole_b.reshape(past.whole_b.shape + (1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, written, state)

  def _compressed(self, past: Past) -> tuple[Array, Array | None]:
    """x of the new slots; for 'most_used', the indices of their tokens in the segment."""
    if not self.traits.uses_attention:
      return self.compressor(past.x_bld), None
    if past.received_bl is None:
      raise ValueError(
        "compression = 'most_used' needs Past.received_bl, the attention that the past received"
      )
    return compression.most_used(past.x_bld, past.received_bl, self.config.rate)

  @property
  def _segments_back(self) -> np.ndarray:
    """[1, m]: the number of segments that are stored after that of a slot."""
    return segments_back(self.config.length, self.per_segment)[None]

  def _ages(self, state: CompressiveState) -> Array:
    """age_bm; b is 1 where all rows keep the same tokens of a segment."""
    site, rate, num = self.site, self.config.rate, self.config.length
    if self.config.positions == 'index':
      return jnp.asarray(site.ages(num)[None], site.state_dtype)
    start_1m = (self._segments_back + site.lag) * site.segment_length  # of the first token of its segment
    if state.index_bm is not None:
      return (jnp.asarray(start_1m, state.index_bm.dtype) - state.index_bm).astype(site.state_dtype)
    middle_m = (np.arange(num) % self.per_segment) * rate + (rate - 1) / 2
    return jnp.asarray(start_1m - middle_m[None], site.state_dtype)

  def _compared(self, state: CompressiveState, project: Project) -> PyTree:
    """The inputs of a loss, from which only the compressor and the decoder learn."""
    if state.old_bld is None:
      return None
    old_bld = jax.lax.stop_gradient(state.old_bld)
    new_bmd = self.compressor(old_bld)  # Again: the gradient of stored slots also reaches tokens.
    if self.config.loss == 'auto_encoding':
      return compression.auto_encoding(old_bld, self.decoder(new_bmd))
    return without_weights(project, old_bld), without_weights(project, new_bmd)

  def _aux(self, compared: PyTree, segment: Segment, ok_bl: Array) -> dict[str, SumCount]:
    """Sums over the tokens that read, so that they also add up token by token."""
    if not self.config.loss:
      return {}
    if self.config.loss == 'auto_encoding':
      error_bl = jnp.broadcast_to(compared[:, None], ok_bl.shape)
    else:
      q_blhk = jax.lax.stop_gradient(segment.q_blhk)
      error_bl = compression.attention_reconstruction(q_blhk, *compared)
    return {self.config.loss: losses.masked_sum(error_bl, ok_bl)}
