"""One decoder block over a whole chunk: only the memory's own recurrence runs segment by segment."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core.pytree import pytree
from infformer_jax.memory import registry
from infformer_jax.memory.base import Site, View
from infformer_jax.memory.none import NothingConfig
from infformer_jax.memory.recent import windows
from infformer_jax.nn import attention_received
from infformer_jax.nn.attention import Attention, Keys
from infformer_jax.nn.layers import FeedForward, dropout, fold_in, norm
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.types import Array, Past, PyTree, Read, Segment

Biases = tuple[Array, Array] | None
Window = tuple[Array, Array, Array]
"""k, v [..., w, h, k] and ok [..., w] of w = M + l consecutive tokens."""


@pytree
class BlockState:
  """What one layer keeps between chunks."""

  cache_btd: Array | None  # the layer's last max(M, lag·l) inputs, before its pre-norm; None: there are none
  memory: PyTree
  received_bt: Array | None = None  # attention that the cached tokens have received, where the memory uses it


@pytree
class Chunk:
  """What all layers know of a chunk."""

  ok_bsl: Array  # bool, real tokens
  new_doc_bs: Array  # bool
  since_bs: Array  # int32, segments of the same document before this one
  biases: Biases  # u, v [h, k] of Transformer-XL, shared by the layers


class Block(nnx.Module):
  """Attention with its memories, then the feed-forward; pre-norm or post-norm."""

  def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
    memory = config.memory if index in config.memory.layers_of(config.num_layers) else NothingConfig()
    of: dict[str, Any] = {
      'dtype': config.compute_dtype,
      'param_dtype': jnp.dtype(config.param_dtype),
      'rngs': rngs,
    }
    self.config = config
    self.lag = memory.lag(config.segment_length, config.short_term_length)
    # Residual branches start small, so that depth does not blow up the stream (Radford et al. 2019).
    gain = 1 / np.sqrt(2 * config.num_layers)
    self.attention = Attention(config, gain=gain, rngs=rngs)
    self.attention_norm = norm(config.norm, config.d_model, **of)
    self.feed_forward = FeedForward(config.feed_forward, config.d_model, config.d_ff, gain=gain, **of)
    self.feed_forward_norm = norm(config.norm, config.d_model, **of)
    site = Site(
      d_model=config.d_model,
      num_heads=config.num_heads,
      head_dim=config.width_of_head,
      segment_length=config.segment_length,
      lag=self.lag,
      param_dtype=jnp.dtype(config.param_dtype),
    )
    self.memory = registry.build(memory, site, rngs=rngs)

  @property
  def cache_length(self) -> int:
    """Tokens kept between chunks: for the short-term window, and until the memory takes them."""
    return max(self.config.short_term_length, self.lag * self.config.segment_length)

  def init_state(self, batch: int) -> BlockState:
    dtype, length = jnp.dtype(self.config.compute_dtype), self.cache_length
    cache = jnp.zeros((batch, length, self.config.d_model), dtype) if length else None
    wide = self.memory.site.state_dtype
    return BlockState(
      cache_btd=cache,
      memory=self.memory.init_state(batch, dtype),
      received_bt=jnp.zeros((batch, length), wide) if self.memory.uses_attention else None,
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
    rate = self.config.dropout
    attended_bsld, state, read = self._attend(x_bsld, state, chunk, keys_bs=keys_bs, view=view)
    x_bsld = self.joined(x_bsld, dropout(attended_bsld, keys_bs, rate, 0), keys_bs=keys_bs)
    return x_bsld, state, read

  def joined(self, x_bsld: Array, attended_bsld: Array, *, keys_bs: Array | None) -> Array:
    """The residual stream after the attention's result and the feed-forward."""
    rate = self.config.dropout

    def feed_forward(x: Array) -> Array:
      return dropout(self.feed_forward(x, keys_bs=keys_bs, rate=rate, site=1), keys_bs, rate, 2)

    x_bsld = x_bsld + attended_bsld
    if self.config.norm_position == 'pre':
      return x_bsld + feed_forward(self.feed_forward_norm(x_bsld))
    x_bsld = self.attention_norm(x_bsld)
    return self.feed_forward_norm(x_bsld + feed_forward(x_bsld))

  def attention_input(self, x: Array) -> Array:
    """What the attention and the memories see of the residual stream."""
    return self.attention_norm(x) if self.config.norm_position == 'pre' else x

  def _attend(
    self, x_bsld: Array, state: BlockState, chunk: Chunk, *, keys_bs: Array | None, view: View
  ) -> tuple[Array, BlockState, Read]:
    b, s, length, d = x_bsld.shape
    timeline_btd = x_bsld.reshape(b, s * length, d)
    if state.cache_btd is not None:
      timeline_btd = jnp.concatenate([state.cache_btd.astype(x_bsld.dtype), timeline_btd], axis=1)
    h_btd = self.attention_input(timeline_btd)
    h_bsld = h_btd[:, self.cache_length :].reshape(b, s, length, d)
    segments = Segment(
      q_blhk=self.attention.queries(h_bsld),
      ok_bl=chunk.ok_bsl,
      offset_bl=jnp.broadcast_to(jnp.arange(length, dtype=jnp.float32), (b, s, length)),
    )
    first = self.cache_length - self.lag * length
    pasts = Past(
      x_bld=windows(h_btd, start=first, size=length, stride=length, count=s),
      whole_b=chunk.since_bs >= self.lag,
    )
    draws_bs = fold_in(keys_bs, 3) if self.memory.draws and keys_bs is not None else None  # 0 to 2: dropout.
    window = self._window(timeline_btd, h_btd, self.attention.project(h_bsld), chunk)
    memory, received_bt, project = state.memory, state.received_bt, self.attention.project
    options: dict[str, Any] = {'keys_bs': draws_bs, 'view': view}
    if received_bt is not None:
      (memory, received_bt), read, out_bsld = attention_received.scan(
        self.memory,
        functools.partial(self._attended_and_received, biases=chunk.biases),
        (memory, received_bt),
        segments,
        window,
        pasts,
        chunk.new_doc_bs,
        project,
        **options,
      )
    else:
      memory, read = self.memory.scan(memory, segments, pasts, chunk.new_doc_bs, project, **options)
      # From here on the segments are as independent as the lanes: one row each.
      answer = Read(slots=read.slots, gated=read.gated, added_bld=read.added_bld)
      rows = jax.tree.map(lambda a: a.reshape(b * s, *a.shape[2:]), (segments, window, answer))
      out_bsld = self._attended(*rows, biases=chunk.biases).reshape(b, s, length, d)
    cache_btd = state.cache_btd
    if cache_btd is not None:
      cache_btd = timeline_btd[:, -self.cache_length :].astype(cache_btd.dtype)
    return out_bsld, BlockState(cache_btd=cache_btd, memory=memory, received_bt=received_bt), read

  def _attended(self, segment: Segment, window: Window, read: Read, *, biases: Biases) -> Array:
    """The attention's result [b, l, d]; rows are lanes, or lanes times segments."""
    out_bld = self.attention.attend(self._keys(segment, window, read, biases), read.gated)
    return out_bld if read.added_bld is None else out_bld + read.added_bld.astype(out_bld.dtype)

  def _attended_and_received(
    self, segment: Segment, window: Window, read: Read, *, biases: Biases
  ) -> tuple[Array, Array]:
    """The same, and what the window's tokens received [b, w]."""
    weights_bhlm = self.attention.weights(self._keys(segment, window, read, biases))
    received_bw = attention_received.received(weights_bhlm, segment.ok_bl, window[2].shape[1])
    return self._attended(segment, window, read, biases=biases), received_bw

  def _keys(self, segment: Segment, window: Window, read: Read, biases: Biases) -> list[Keys]:
    k_bwhk, v_bwhk, ok_bw = window
    keys = [self.attention.window(segment.q_blhk, k_bwhk, v_bwhk, ok_bw, biases)]
    return keys + [
      self.attention.aged(segment.q_blhk, segment.offset_bl, part, biases) for part in read.slots
    ]

  def _window(self, timeline_btd: Array, h_btd: Array, own: tuple[Array, Array], chunk: Chunk) -> Window:
    """k, v [b, s, M + l, h, k] and ok [b, s, M + l]: each segment with the M tokens before it.

    With stop_short_term_gradient those are projected separately, from stopped values, so that W_K and W_V
    still learn from them (Transformer-XL's training).
    """
    length, short = self.config.segment_length, self.config.short_term_length
    s = chunk.ok_bsl.shape[1]
    if not short:
      return *own, chunk.ok_bsl
    first = self.cache_length - short
    if self.config.stop_short_term_gradient:
      past_btd = jax.lax.stop_gradient(timeline_btd[:, first : self.cache_length + (s - 1) * length])
      k_bthk, v_bthk = self.attention.project(self.attention_input(past_btd))
    else:
      k_bthk, v_bthk = self.attention.project(h_btd[:, first : self.cache_length])
      k_own, v_own = (a.reshape(a.shape[0], -1, *a.shape[3:]) for a in own)
      k_bthk, v_bthk = jnp.concatenate([k_bthk, k_own], axis=1), jnp.concatenate([v_bthk, v_own], axis=1)
    place = {'start': 0, 'size': short, 'stride': length, 'count': s}
    k_bswhk = jnp.concatenate([windows(k_bthk, **place), own[0]], axis=2)
    v_bswhk = jnp.concatenate([windows(v_bthk, **place), own[1]], axis=2)
    back_w = (short - 1 - np.arange(short)) // length + 1  # segments back
    ok_bsw = jnp.asarray(back_w) <= chunk.since_bs[:, :, None]
    return k_bswhk, v_bswhk, jnp.concatenate([ok_bsw, chunk.ok_bsl], axis=2)
