"""One decoder block over a whole chunk: only the memory's own recurrence runs segment by segment."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core import attention as attention_core
from infformer_jax.core import placement
from infformer_jax.core.attention import Part, Queries, WeightDropout
from infformer_jax.core.pytree import pytree
from infformer_jax.memory import registry
from infformer_jax.memory.base import Site, View
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import attention_received
from infformer_jax.nn.attention import Attention, Biases
from infformer_jax.nn.attention_received import ReceivedAttention
from infformer_jax.nn.layers import FeedForward, KeyUse, dropout, fold_in, norm
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.nn.timeline import Timeline
from infformer_jax.nn.window import Window, WindowKV
from infformer_jax.types import Array, Past, PyTree, Read, Segment


@pytree
class BlockState:
  """What one layer keeps between chunks."""

  cache_btd: Array | None  # the layer's last inputs (Timeline.cache_length), before its pre-norm
  memory: PyTree
  received: ReceivedAttention | None = None  # what the cached tokens have received, where the memory uses it


@pytree
class Local:
  """The inputs of local attention besides the memory's answer; rows as in nn/attention.py."""

  q_blhk: Array
  ok_bl: Array
  window: WindowKV
  dropout_key_b: Array | None


@pytree
class Chunk:
  """The inputs of a chunk that all layers share."""

  ok_bsl: Array  # bool, real tokens
  new_doc_bs: Array  # bool
  since_bs: Array  # int32, segments of the same document before this one
  biases: Biases  # u, v [h, k] of Transformer-XL, shared by the layers
  positions_td: Array | None  # the table of learned positions


class Block(nnx.Module):
  """Attention with its memories, then the feed-forward; pre-norm or post-norm."""

  def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
    memory = config.memory if index in config.memory.layers_of(config.num_layers) else NothingConfig()
    common: dict[str, Any] = {
      'dtype': config.compute_dtype,
      'param_dtype': jnp.dtype(config.param_dtype),
      'rngs': rngs,
    }
    self.config = config
    self.timeline = Timeline(
      segment_length=config.segment_length,
      short_term_length=config.short_term_length,
      lag=memory.lag(config.segment_length, config.short_term_length),
    )
    # Residual branches start small, so that the stream does not grow with depth (Radford et al. 2019).
    gain = 1 / np.sqrt(2 * config.num_layers)
    self.attention = Attention(config, gain=gain, rngs=rngs)
    drift = jnp.zeros((config.num_positions, config.d_model), jnp.dtype(config.param_dtype))
    self.position_drift_td = nnx.Param(drift) if index in config.layers_with_drift else None
    self.attention_norm = norm(config.norm, config.d_model, epsilon=config.norm_epsilon, **common)
    sizes, bias = (config.d_model, config.d_ff), config.biased_feed_forward
    self.feed_forward = FeedForward(config.feed_forward, *sizes, bias=bias, gain=gain, **common)
    self.feed_forward_norm = norm(config.norm, config.d_model, epsilon=config.norm_epsilon, **common)
    site = Site(
      d_model=config.d_model,
      num_heads=config.num_heads,
      num_kv_heads=config.kv_heads,
      head_dim=config.width_of_head,
      segment_length=config.segment_length,
      lag=self.timeline.lag,
      param_dtype=jnp.dtype(config.param_dtype),
    )
    self.memory = registry.build(memory, site, rngs=_rngs_of_memory(rngs, index))

  def init_state(self, batch: int) -> BlockState:
    """An empty past for `batch` lanes."""
    dtype, length = jnp.dtype(self.config.compute_dtype), self.timeline.cache_length
    return BlockState(
      cache_btd=jnp.zeros((batch, length, self.config.d_model), dtype) if length else None,
      memory=self.memory.init_state(batch, dtype),
      received=attention_received.init(self.memory, self.timeline, batch),
    )

  def __call__(
    self, x_bsld: Array, state: BlockState, chunk: Chunk, *, keys_bs: Array | None, view: View
  ) -> tuple[Array, BlockState, Read]:
    """A chunk through the block.

    Args:
      x_bsld: the residual stream.
      state: as the last chunk left it.
      keys_bs: this layer's keys per segment, for dropout and the memory's draws; None: neither.
      view: what is read instead of the memory's state (memory/views.py).
    Returns:
      The residual stream, the state, and what the memory answered, for its losses and plots.
    """
    x_bsld = placement.lanes_first(x_bsld)
    with jax.named_scope('attention'):
      attended_bsld, state, read = self._attend(x_bsld, state, chunk, keys_bs=keys_bs, view=view)
    attended_bsld = dropout(attended_bsld, fold_in(keys_bs, KeyUse.ATTENTION_OUTPUT), self.config.dropout)
    return placement.lanes_first(self.joined(x_bsld, attended_bsld, keys_bs=keys_bs)), state, read

  def joined(self, x_bsld: Array, attended_bsld: Array, *, keys_bs: Array | None) -> Array:
    """The residual stream after the attention's result and the feed-forward."""

    @jax.named_scope('feed_forward')
    def feed_forward(x: Array) -> Array:
      x = self.feed_forward(x, keys_bs=keys_bs, rate=self.config.hidden_dropout)
      return dropout(x, fold_in(keys_bs, KeyUse.FEED_FORWARD_OUTPUT), self.config.dropout)

    x_bsld = x_bsld + attended_bsld
    if self.config.norm_position == 'pre':
      return x_bsld + feed_forward(self.feed_forward_norm(x_bsld))
    x_bsld = self.attention_norm(x_bsld)
    return self.feed_forward_norm(x_bsld + feed_forward(x_bsld))

  @property
  def window(self) -> Window:
    """The keys and values of the short-term window."""
    drift = self.position_drift_td
    return Window(
      timeline=self.timeline,
      attention=self.attention,
      attention_input=self.attention_input,
      drift_td=None if drift is None else drift[...],
    )

  def attention_input(self, x: Array) -> Array:
    """The input of the attention and the memories, from the residual stream."""
    return self.attention_norm(x) if self.config.norm_position == 'pre' else x

  def _attend(
    self, x_bsld: Array, state: BlockState, chunk: Chunk, *, keys_bs: Array | None, view: View
  ) -> tuple[Array, BlockState, Read]:
    b, s, length, d = x_bsld.shape
    timeline_btd = x_bsld.reshape(b, s * length, d)
    if state.cache_btd is not None:
      timeline_btd = jnp.concatenate([state.cache_btd.astype(x_bsld.dtype), timeline_btd], axis=1)
    h_btd = self.attention_input(timeline_btd)
    h_bsld = h_btd[:, self.timeline.cache_length :].reshape(b, s, length, d)
    q_bslhk = self.attention.queries(h_bsld)
    segments = Segment(
      q_blhk=q_bslhk,
      ok_bl=chunk.ok_bsl,
      offset_bl=jnp.broadcast_to(jnp.arange(length, dtype=jnp.float32), (b, s, length)),
    )
    whole_bs = self.timeline.has_past(chunk.since_bs)
    residual_bsld = self.timeline.pasts(timeline_btd, s) if self.memory.traits.uses_residual else None
    pasts = Past(x_bld=self.timeline.pasts(h_btd, s), whole_b=whole_bs, residual_bld=residual_bsld)
    local = Local(
      q_blhk=q_bslhk,
      ok_bl=chunk.ok_bsl,
      window=self.window.of_chunk(timeline_btd, h_btd, chunk.ok_bsl, chunk.since_bs, chunk.positions_td),
      dropout_key_b=fold_in(keys_bs, KeyUse.ATTENTION_WEIGHTS) if self.config.attention_dropout else None,
    )
    memory, received = state.memory, state.received
    common: dict[str, Any] = {
      'keys_bs': fold_in(keys_bs, KeyUse.MEMORY_WRITES) if self.memory.traits.draws else None,
      'view': view,
    }
    recurrence = pasts, chunk.new_doc_bs, self.attention.project
    if received is not None:
      attend = functools.partial(self._attended_and_received, biases=chunk.biases)
      (memory, received), read, out_bsld = attention_received.scan(
        self.memory,
        attend,
        (memory, received),
        segments,
        local,
        *recurrence,
        timeline=self.timeline,
        **common,
      )
    else:
      with jax.named_scope('memory'):
        memory, read = self.memory.scan(memory, segments, *recurrence, **common)
      # Everything else is independent per segment, as it is per lane: one row each.
      answer = Read(slots=read.slots, gated=read.gated, added_bld=read.added_bld)
      rows = jax.tree.map(lambda a: a.reshape(b * s, *a.shape[2:]), (local, answer))
      out_bsld = self._attended(*rows, biases=chunk.biases).reshape(b, s, length, d)
    chex.assert_tree_shape_prefix(memory, (b,))  # Also for memories that override `scan`.
    cache_btd = state.cache_btd
    if cache_btd is not None:
      cache_btd = timeline_btd[:, -self.timeline.cache_length :].astype(cache_btd.dtype)
    return out_bsld, BlockState(cache_btd=cache_btd, memory=memory, received=received), read

  def _attended(self, local: Local, read: Read, *, biases: Biases) -> Array:
    """The attention's result [b, l, d]."""
    dropout = None
    if local.dropout_key_b is not None:
      dropout = WeightDropout(key_b=local.dropout_key_b, rate=self.config.attention_dropout)
    out_bld = self.attention.attend(*self._parts(local, read, biases), read.gated, dropout=dropout)
    return out_bld if read.added_bld is None else out_bld + read.added_bld.astype(out_bld.dtype)

  def _attended_and_received(self, local: Local, read: Read, *, biases: Biases) -> tuple[Array, Array]:
    """The result of `_attended`, and the attention that the tokens of the window received [b, w]."""
    parts, width = self._parts(local, read, biases), local.window.ok_bw.shape[1]
    received_bw = attention_core.sum_received(*parts, local.ok_bl, width=width)
    return self._attended(local, read, biases=biases), received_bw

  def _parts(self, local: Local, read: Read, biases: Biases) -> tuple[Queries, list[Part]]:
    offset_l = jnp.arange(self.config.segment_length, dtype=jnp.float32)
    queries = self.attention.ask(local.q_blhk, offset_l[None], biases)
    window = self.attention.window(local.window.k_bwhk, local.window.v_bwhk, local.window.ok_bw)
    return queries, [window, *map(self.attention.slots, read.slots)]


def _rngs_of_memory(rngs: nnx.Rngs, index: int) -> nnx.Rngs:
  """A stream for the memory of a layer, so that models with different memories have the same trunk."""
  memories = jax.random.fold_in(rngs.params.key[...], 2**32 - 1)  # The trunk folds in 0, 1, 2, ...
  return nnx.Rngs(jax.random.fold_in(memories, index))
