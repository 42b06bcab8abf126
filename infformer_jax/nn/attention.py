"""Local attention over the segment, its short-term window and any slots that a memory adds."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core import attention as attention_core
from infformer_jax.core import initializers, positions, rotary
from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.attention import Part, Queries, WeightDropout, WindowKind
from infformer_jax.nn.layers import linear
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.types import Array, Gated, Slots

NUM_BUCKETS = 32  # of T5's positions

Biases = tuple[Array, Array] | None
"""u, v [h, k] of Transformer-XL, which the layers share; None for other positions."""


class Attention(nnx.Module):
  """The projections of one layer, and how its positions enter queries and keys.

  Rows b may be lanes, or lanes times segments. W_q and W_o have num_heads heads; W_k and W_v have
  num_kv_heads, each of which serves num_heads / num_kv_heads consecutive heads (Ainslie et al. 2023).

  With normalize_qk the scores are |scale_h|·(q̂·k̂ + position bias) of unit vectors q̂, k̂ instead of q·k/√k
  (Wu et al. 2022; meliad, transformer_base.py and attention.py). scale_h starts at √k, which gives random
  unit vectors the scores of ordinary attention, of variance 1; the published 1 makes every softmax nearly
  uniform at first.
  """

  def __init__(self, config: ModelConfig, *, gain: float = 1.0, rngs: nnx.Rngs):
    self.config = config
    d, k, param_dtype = config.d_model, config.width_of_head, config.param_dtype
    common: dict[str, Any] = {
      'dtype': config.compute_dtype,
      'param_dtype': jnp.dtype(param_dtype),
      'rngs': rngs,
    }
    size, kv_size = config.num_heads * k, config.kv_heads * k
    self.w_q = linear(d, size, bias=config.qkv_bias, **common)
    self.w_k = linear(d, kv_size, bias=config.qkv_bias, **common)
    self.w_v = linear(d, kv_size, bias=config.qkv_bias, **common)
    self.w_o = linear(size, d, bias=config.attention_output_bias, gain=gain, **common)
    if config.positions == 'xl':
      self.w_r = linear(d, size, bias=False, **common)
    if config.positions == 't5':  # A table per layer, as in meliad; T5 shares one. Initialized as T5's.
      table = initializers.normal(1 / math.sqrt(d))
      self.bias_jh = nnx.Param(table(rngs.params(), (NUM_BUCKETS, config.num_heads), param_dtype))
    if config.normalize_qk:
      self.scale_h = nnx.Param(jnp.full((config.num_heads,), math.sqrt(k), param_dtype))

  def queries(self, x: Array) -> Array:
    """[..., d] -> [..., h, k], before any normalization and position."""
    return self._heads(self.w_q(x))

  def project(self, x: Array) -> tuple[Array, Array]:
    """[..., d] -> keys and values [..., kv h, k], before any normalization and position."""
    return self._heads(self.w_k(x)), self._heads(self.w_v(x))

  def ask(self, q_blhk: Array, offset_bl: Array, biases: Biases) -> Queries:
    """Queries as they enter the scores.

    Args:
      q_blhk: of `queries`.
      offset_bl: the positions of these tokens, in tokens from the segment's first; b may be 1.
      biases: the model's.
    """
    offset_bl, q_blhk = offset_bl.astype(self._wide), self._normalized(q_blhk)
    scale_h = jnp.abs(self.scale_h[...]) if self.config.normalize_qk else None
    if biases is not None:
      u_11hk, v_11hk = (bias.astype(q_blhk.dtype)[None, None] for bias in biases)
      return Queries(
        q_blhk=q_blhk + u_11hk, offset_bl=offset_bl, position_q_blhk=q_blhk + v_11hk, scale_h=scale_h
      )
    if self.config.positions == 'rotary':
      q_blhk = self._rotated(q_blhk, offset_bl)
    return Queries(q_blhk=q_blhk, offset_bl=offset_bl, scale_h=scale_h)

  def slots(self, slots: Slots) -> Part:
    """A memory's slots, which every query sees whose distance to them is not negative."""
    return self.keys(slots.k_bmhk, slots.v_bmhk, slots.age_bm, slots.ok_bm, window='block')

  def window(self, k_bwhk: Array, v_bwhk: Array, ok_bw: Array) -> Part:
    """w = M + l consecutive tokens, the last l of them the segment whose queries see them."""
    width = k_bwhk.shape[1]
    part = dataclasses.replace(self.keys(k_bwhk, v_bwhk, self.ages(width), ok_bw), consecutive=True)
    if self.config.positions != 'xl':
      return part
    return dataclasses.replace(part, position=positions.Relative(r_mhk=self.relative(width)))

  def ages(self, width: int) -> Array:
    """The ages [1, w] of w consecutive tokens, the last l of them the segment."""
    return jnp.asarray((width - self.config.segment_length) - np.arange(width), self._wide)[None]

  def relative(self, width: int) -> Array:
    """Transformer-XL's W_R R [w, h, k] for the distances w-1 .. 0."""
    distance_w = jnp.asarray(np.arange(width)[::-1], self.w_r.param_dtype)
    if self.config.clamp_length is not None:
      distance_w = jnp.minimum(distance_w, self.config.clamp_length)
    return self._heads(self.w_r(positions.sinusoids(distance_w, self.config.d_model)))

  def sinusoids(self, place_bm: Array) -> Array:
    """Transformer-XL's R [b, m, d] of ages or offsets, in the dtype of the activations."""
    encoded = positions.sinusoids(place_bm.astype(self._wide), self.config.d_model)
    return encoded.astype(self.config.compute_dtype)

  def keys(
    self, k_bmhk: Array, v_bmhk: Array, age_bm: Array, ok_bm: Array, *, window: WindowKind | None = None
  ) -> Part:
    """Keys of any age, before any normalization and position.

    Args:
      k_bmhk, v_bmhk: of `project`.
      age_bm: tokens back from the segment's first token; b may be 1.
      ok_bm: which of them exist.
      window: which of them a query sees; None: as of the tokens of the short-term window.
    """
    return self.placed_keys(self.placed(k_bmhk, age_bm), v_bmhk, age_bm, ok_bm, window=window)

  def placed(self, k_bmhk: Array, age_bm: Array) -> Array:
    """Keys as they enter the scores: of `project`, normalized and rotated where the config says so."""
    k_bmhk = self._normalized(k_bmhk)
    if self.config.positions != 'rotary':
      return k_bmhk
    return self._rotated(k_bmhk, -age_bm.astype(self._wide))

  def placed_keys(
    self, k_bmhk: Array, v_bmhk: Array, age_bm: Array, ok_bm: Array, *, window: WindowKind | None = None
  ) -> Part:
    """`keys` that are already `placed`."""
    term: positions.PositionTerm = None
    if self.config.positions == 'xl':
      w_dhk = self._heads(self.w_r.kernel[...]).astype(k_bmhk.dtype)
      term = positions.Aged(w_dhk=w_dhk, clamp_length=self.config.clamp_length)
    elif self.config.positions == 't5':
      term = positions.Buckets(table_jh=self.bias_jh[...])
    return Part(
      k_bmhk=k_bmhk,
      v_bmhk=v_bmhk,
      ok_bm=jnp.asarray(ok_bm),
      age_bm=age_bm.astype(self._wide),
      position=term,
      window=window or self.config.window,
      reach=self.config.short_term_length,
    )

  def attend(
    self,
    queries: Queries,
    parts: Sequence[Part],
    gated: Gated | None,
    *,
    dropout: WeightDropout | None = None,
  ) -> Array:
    """One softmax over all parts, mixed with what a gated memory answers, through W_o: [b, l, d]."""
    context_blhk = attention_core.attend(queries, parts, dropout=dropout)
    if gated is not None:
      context_blhk = attention_core.mixed(context_blhk, gated.context_blhk, gated.gate_blh)
    return self.w_o(context_blhk.reshape(*context_blhk.shape[:2], -1))

  @property
  def _wide(self) -> Any:
    """The dtype of offsets and ages."""
    return at_least_float32(self.config.param_dtype)

  def _normalized(self, x: Array) -> Array:
    return attention_core.normalized(x) if self.config.normalize_qk else x

  def _rotated(self, x: Array, position: Array) -> Array:
    config = self.config
    omega = rotary.frequencies(config.width_of_head, config.rotary_base, config.rotary_scaling)
    return rotary.rotated(x, position, omega)

  def _heads(self, x: Array) -> Array:
    width = self.config.width_of_head
    return x.reshape(*x.shape[:-1], x.shape[-1] // width, width)
