"""The parts of a decoder block that act on each token separately: norms, feed-forwards, dropout by key."""

import enum
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.core import initializers
from infformer_jax.types import Array

FeedForwardKind = Literal['relu', 'gelu', 'gelu_erf', 'swiglu']


class KeyUse(enum.IntEnum):
  """What a layer draws with its key of a segment: each use folds its number into the key."""

  ATTENTION_OUTPUT = 0
  FEED_FORWARD_HIDDEN = 1
  FEED_FORWARD_OUTPUT = 2
  MEMORY_WRITES = 3
  ATTENTION_WEIGHTS = 4


def linear(
  d_in: int, d_out: int, *, bias: bool, dtype: Any, param_dtype: Any, rngs: nnx.Rngs, gain: float = 1.0
) -> nnx.Linear:
  """A dense layer whose outputs have the variance gain² of its inputs."""
  init = initializers.fan_in(gain**2)
  return nnx.Linear(
    d_in, d_out, use_bias=bias, kernel_init=init, dtype=dtype, param_dtype=param_dtype, rngs=rngs
  )


def norm(
  kind: Literal['layernorm', 'rmsnorm'],
  d_model: int,
  *,
  epsilon: float,
  dtype: Any,
  param_dtype: Any,
  rngs: nnx.Rngs,
) -> nnx.LayerNorm | nnx.RMSNorm:
  """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019) over the last axis."""
  cls = nnx.LayerNorm if kind == 'layernorm' else nnx.RMSNorm
  return cls(d_model, epsilon=epsilon, dtype=dtype, param_dtype=param_dtype, rngs=rngs)


def fold_in(keys_bs: Array | None, number: int) -> Array | None:
  """Folds `number` into every key; None stays None."""
  if keys_bs is None:
    return None
  return jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, number)))(keys_bs)


def dropout(x_bsld: Array, keys_bs: Array | None, rate: float) -> Array:
  """Zeroes entries with probability `rate` and scales the others, each segment by its own key.

  Args:
    x_bsld: activations of a chunk.
    keys_bs: one key per segment, of this use alone, so that a chunk draws what its segments one by one would;
      None: identity.
  """
  if keys_bs is None or rate == 0:
    return x_bsld

  def keep(key: Array) -> Array:
    return jax.random.bernoulli(key, 1 - rate, x_bsld.shape[2:])

  return jnp.where(jax.vmap(jax.vmap(keep))(keys_bs), x_bsld / (1 - rate), 0).astype(x_bsld.dtype)


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  'relu': jax.nn.relu,
  'gelu': functools.partial(jax.nn.gelu, approximate=True),
  'gelu_erf': functools.partial(jax.nn.gelu, approximate=False),
}


class FeedForward(nnx.Module):
  """relu (Transformer-XL), gelu (GPT-2's tanh form), gelu_erf (the exact one), swiglu (Shazeer 2020)."""

  def __init__(
    self,
    kind: FeedForwardKind,
    d_model: int,
    d_ff: int,
    *,
    bias: bool,
    gain: float,
    dtype: Any,
    param_dtype: Any,
    rngs: nnx.Rngs,
  ):
    self.kind = kind
    common: dict[str, Any] = {'bias': bias, 'dtype': dtype, 'param_dtype': param_dtype, 'rngs': rngs}
    self.w_in = linear(d_model, d_ff, **common)
    if kind == 'swiglu':
      self.w_gate = linear(d_model, d_ff, **common)
    self.w_out = linear(d_ff, d_model, gain=gain, **common)

  def __call__(self, x_bsld: Array, *, keys_bs: Array | None, rate: float) -> Array:
    """[b, s, l, d]; hidden units are dropped at this rate, by the layer's keys per segment."""
    hidden = self.w_in(x_bsld)
    if self.kind == 'swiglu':
      hidden = hidden * jax.nn.silu(self.w_gate(x_bsld))
    else:
      hidden = _ACTIVATIONS[self.kind](hidden)
    return self.w_out(dropout(hidden, fold_in(keys_bs, KeyUse.FEED_FORWARD_HIDDEN), rate))
