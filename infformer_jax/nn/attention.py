"""Local attention over the segment, its short-term window and any slots that a memory adds."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core import attention as core
from infformer_jax.nn.layers import linear
from infformer_jax.types import Array, Gated, Slots

Positions = Literal['xl', 'rotary', 'learned']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keys:
  """Some keys of one softmax: unscaled scores, what a query may see, and the values."""

  scores_bhlm: Array
  ok_blm: Array
  v_bmhk: Array


class Attention(nnx.Module):
  """The projections of one layer and its scores by position. Rows b may be lanes, or lanes times segments."""

  def __init__(
    self,
    d_model: int,
    num_heads: int,
    head_dim: int,
    positions: Positions,
    *,
    gain: float,
    dtype: Any,
    param_dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.num_heads, self.head_dim, self.positions = num_heads, head_dim, positions
    of: dict[str, Any] = {'bias': False, 'dtype': dtype, 'param_dtype': param_dtype, 'rngs': rngs}
    self.w_q = linear(d_model, num_heads * head_dim, **of)
    self.w_k = linear(d_model, num_heads * head_dim, **of)
    self.w_v = linear(d_model, num_heads * head_dim, **of)
    self.w_o = linear(num_heads * head_dim, d_model, gain=gain, **of)
    if positions == 'xl':
      self.w_r = linear(d_model, num_heads * head_dim, **of)

  def queries(self, x: Array) -> Array:
    """[..., d] -> [..., h, k]."""
    return self._heads(self.w_q(x))

  def project(self, x: Array) -> tuple[Array, Array]:
    """[..., d] -> keys and values [..., h, k], before any position."""
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
      offset_bl = jnp.broadcast_to(jnp.arange(length, dtype=jnp.float32), q_blhk.shape[:2])
      scores = self._aged(q_blhk, offset_bl, k_bwhk, jnp.broadcast_to(age_w, ok_bw.shape), None)
    else:
      u_hk, v_hk = (bias.astype(q_blhk.dtype) for bias in biases)
      distance_w = jnp.asarray(np.arange(width)[::-1], self.w_r.param_dtype)
      r_whk = self._heads(self.w_r(core.sinusoids(distance_w, self.w_r.in_features)))
      scores = core.window_scores(q_blhk, k_bwhk, r_whk, u_hk, v_hk)
    return Keys(
      scores_bhlm=scores, ok_blm=jnp.asarray(core.causal(length, width)) & ok_bw[:, None, :], v_bmhk=v_bwhk
    )

  def aged(self, q_blhk: Array, offset_bl: Array, slots: Slots, biases: tuple[Array, Array] | None) -> Keys:
    """Keys of any age; a query sees those whose distance, offset + age, is not negative."""
    scores = self._aged(q_blhk, offset_bl, slots.k_bmhk, slots.age_bm, biases)
    seen_blm = offset_bl[:, :, None] + slots.age_bm[:, None, :] >= 0
    return Keys(scores_bhlm=scores, ok_blm=seen_blm & slots.ok_bm[:, None, :], v_bmhk=slots.v_bmhk)

  def attend(self, keys: list[Keys], gated: Gated | tuple[()]) -> Array:
    """One softmax over all keys, mixed with what a gated memory brings, through W_o: [b, l, d]."""
    scores = jnp.concatenate([part.scores_bhlm for part in keys], axis=-1) / np.sqrt(self.head_dim)
    ok_blm = jnp.concatenate([part.ok_blm for part in keys], axis=-1)
    values = jnp.concatenate([part.v_bmhk for part in keys], axis=1)
    # A weight of 0 does not keep out what is not finite.
    values = jnp.where(ok_blm.any(axis=1)[:, :, None, None], values, 0)
    weights = core.softmax(scores, ok_blm[:, None]).astype(values.dtype)
    context_blhk = jnp.einsum('bhlm,bmhk->blhk', weights, values)
    if isinstance(gated, Gated):
      gate_blh1 = gated.gate_blh[..., None]
      context_blhk = (gate_blh1 * gated.context_blhk + (1 - gate_blh1) * context_blhk).astype(values.dtype)
    return self.w_o(context_blhk.reshape(*context_blhk.shape[:2], -1))

  def _aged(
    self,
    q_blhk: Array,
    offset_bl: Array,
    k_bmhk: Array,
    age_bm: Array,
    biases: tuple[Array, Array] | None,
  ) -> Array:
    wide = jnp.promote_types(jnp.float32, self.w_q.param_dtype)
    offset_bl, age_bm = offset_bl.astype(wide), age_bm.astype(wide)
    if biases is not None:
      u_hk, v_hk = (bias.astype(q_blhk.dtype) for bias in biases)
      w_dhk = self._heads(self.w_r.kernel[...]).astype(q_blhk.dtype)
      return core.aged_scores(q_blhk, offset_bl, k_bmhk, age_bm, w_dhk, u_hk, v_hk)
    if self.positions == 'rotary':
      q_blhk, k_bmhk = core.rotary(q_blhk, offset_bl), core.rotary(k_bmhk, -age_bm)
    return jnp.einsum('blhk,bmhk->bhlm', q_blhk, k_bmhk)

  def _heads(self, x: Array) -> Array:
    return x.reshape(*x.shape[:-1], self.num_heads, self.head_dim)
