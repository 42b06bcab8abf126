"""Local attention over the segment, its short-term window and any slots that a memory adds."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core import attention as core
from infformer_jax.core.attention import Window
from infformer_jax.nn.layers import linear
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.types import Array, Gated, Slots

NUM_BUCKETS = 32  # of T5's positions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keys:
  """Some keys of one softmax: unscaled scores, what a query may see, and the values."""

  scores_bhlm: Array
  ok_blm: Array
  v_bmhk: Array


class Attention(nnx.Module):
  """The projections of one layer and its scores by position. Rows b may be lanes, or lanes times segments.

  With normalize_qk the scores are |scale_h|·(q̂·k̂ + position bias) of unit vectors q̂, k̂ instead of q·k/√k
  (Wu et al. 2022; meliad, transformer_base.py and attention.py). scale_h starts at √k, which gives random
  unit vectors the scores of ordinary attention, of variance 1; the published 1 makes every softmax nearly
  even at first.
  """

  def __init__(self, config: ModelConfig, *, gain: float = 1.0, rngs: nnx.Rngs):
    self.config = config
    d, size, param_dtype = config.d_model, config.num_heads * config.width_of_head, config.param_dtype
    of: dict[str, Any] = {
      'bias': False,
      'dtype': config.compute_dtype,
      'param_dtype': jnp.dtype(param_dtype),
      'rngs': rngs,
    }
    self.w_q = linear(d, size, **of)
    self.w_k = linear(d, size, **of)
    self.w_v = linear(d, size, **of)
    self.w_o = linear(size, d, gain=gain, **of)
    if config.positions == 'xl':
      self.w_r = linear(d, size, **of)
    if config.positions == 't5':  # A table per layer, as in meliad; T5 shares one. The start is T5's.
      table = nnx.initializers.normal(1 / math.sqrt(d))
      self.bias_jh = nnx.Param(table(rngs.params(), (NUM_BUCKETS, config.num_heads), param_dtype))
    if config.normalize_qk:
      self.scale_h = nnx.Param(jnp.full((config.num_heads,), math.sqrt(config.width_of_head), param_dtype))

  def queries(self, x: Array) -> Array:
    """[..., d] -> [..., h, k]."""
    return self._heads(self.w_q(x))

  def project(self, x: Array) -> tuple[Array, Array]:
    """[..., d] -> keys and values [..., h, k], before any normalization and position."""
    return self._heads(self.w_k(x)), self._heads(self.w_v(x))

  def window(
    self, q_blhk: Array, k_bwhk: Array, v_bwhk: Array, ok_bw: Array, biases: tuple[Array, Array] | None
  ) -> Keys:
    """The keys of w = M + l consecutive tokens, the last l of them the segment's own.

    Args:
      q_blhk: queries of the whole segment.
      k_bwhk, v_bwhk, ok_bw: the window, oldest token first.
      biases: u, v [h, k] of Transformer-XL; None for other positions.
    """
    length, width = q_blhk.shape[1], k_bwhk.shape[1]
    if biases is None:
      age_w = (width - length) - jnp.arange(width, dtype=jnp.float32)
      offset_l = jnp.arange(length, dtype=jnp.float32)
      scores = self._aged(q_blhk, offset_l[None], k_bwhk, age_w[None], None)
    else:
      u_hk, v_hk = (bias.astype(q_blhk.dtype) for bias in biases)
      distance_w = jnp.asarray(np.arange(width)[::-1], self.w_r.param_dtype)
      if self.config.clamp_length is not None:
        distance_w = jnp.minimum(distance_w, self.config.clamp_length)
      r_whk = self._heads(self.w_r(core.sinusoids(distance_w, self.w_r.in_features)))
      scores = core.window_scores(self._normalized(q_blhk), self._normalized(k_bwhk), r_whk, u_hk, v_hk)
    ok_blw = jnp.asarray(core.mask(self.config.window, length, width)) & ok_bw[:, None, :]
    return Keys(scores_bhlm=scores, ok_blm=ok_blw, v_bmhk=v_bwhk)

  def aged(
    self,
    q_blhk: Array,
    offset_bl: Array,
    slots: Slots,
    biases: tuple[Array, Array] | None,
    *,
    window: Window = 'block',
  ) -> Keys:
    """Keys of any age; a memory's slots are seen where the distance, offset + age, is not negative.

    Args:
      q_blhk: queries of some tokens.
      offset_bl: where these stand, tokens from the segment's first.
      slots: the keys.
      biases: u, v [h, k] of Transformer-XL; None for other positions.
      window: where these are tokens of the segment or of its short-term window, which of them are seen.
    """
    scores = self._aged(q_blhk, offset_bl, slots.k_bmhk, slots.age_bm, biases)
    distance_blm = offset_bl[:, :, None] + slots.age_bm[:, None, :]
    seen_blm = jnp.asarray(core.seen(window, distance_blm, self.config.short_term_length))
    return Keys(scores_bhlm=scores, ok_blm=seen_blm & slots.ok_bm[:, None, :], v_bmhk=slots.v_bmhk)

  def attend(self, keys: list[Keys], gated: Gated | None) -> Array:
    """One softmax over all keys, mixed with what a gated memory brings, through W_o: [b, l, d]."""
    v_bmhk = jnp.concatenate([part.v_bmhk for part in keys], axis=1)
    context_blhk = core.attend(*self._joined(keys), v_bmhk)
    if gated is not None:
      context_blhk = core.mixed(context_blhk, gated.context_blhk, gated.gate_blh)
    return self.w_o(context_blhk.reshape(*context_blhk.shape[:2], -1))

  def weights(self, keys: list[Keys]) -> Array:
    """The weights [b, h, l, m] of `attend`, in the order of the keys."""
    scores_bhlm, ok_blm = self._joined(keys)
    return core.softmax(scores_bhlm, ok_blm[:, None])

  def _joined(self, keys: list[Keys]) -> tuple[Array, Array]:
    """The scaled scores of all keys, and what a query may see."""
    scores_bhlm = jnp.concatenate([part.scores_bhlm for part in keys], axis=-1)
    if self.config.normalize_qk:
      scores_bhlm = scores_bhlm * jnp.abs(self.scale_h[...])[:, None, None]
    else:
      scores_bhlm = scores_bhlm / np.sqrt(self.config.width_of_head)
    return scores_bhlm, jnp.concatenate([part.ok_blm for part in keys], axis=-1)

  def _aged(
    self,
    q_blhk: Array,
    offset_bl: Array,
    k_bmhk: Array,
    age_bm: Array,
    biases: tuple[Array, Array] | None,
  ) -> Array:
    """Unscaled scores; offsets and ages may be the same in all rows, with b = 1."""
    wide = jnp.promote_types(jnp.float32, self.config.param_dtype)
    offset_bl, age_bm = offset_bl.astype(wide), age_bm.astype(wide)
    q_blhk, k_bmhk = self._normalized(q_blhk), self._normalized(k_bmhk)
    if biases is not None:
      u_hk, v_hk = (bias.astype(q_blhk.dtype) for bias in biases)
      w_dhk = self._heads(self.w_r.kernel[...]).astype(q_blhk.dtype)
      clamp = self.config.clamp_length
      return core.aged_scores(q_blhk, offset_bl, k_bmhk, age_bm, w_dhk, u_hk, v_hk, clamp)
    if self.config.positions == 'rotary':
      q_blhk, k_bmhk = core.rotary(q_blhk, offset_bl), core.rotary(k_bmhk, -age_bm)
    scores_bhlm = jnp.einsum('blhk,bmhk->bhlm', q_blhk, k_bmhk)
    if self.config.positions == 't5':
      bucket_blm = core.bucket(offset_bl[:, :, None] + age_bm[:, None, :], num=NUM_BUCKETS)
      scores_bhlm = scores_bhlm + jnp.moveaxis(self.bias_jh[...][bucket_blm], -1, 1)
    return scores_bhlm

  def _normalized(self, x: Array) -> Array:
    return core.normalized(x) if self.config.normalize_qk else x

  def _heads(self, x: Array) -> Array:
    return x.reshape(*x.shape[:-1], self.config.num_heads, self.config.width_of_head)
