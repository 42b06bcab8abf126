"""Losses as (sum, count), so that they add up over segments, lanes and devices before the one division."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from infformer_jax.core.arrays import at_least_float32


def token_losses(logits: Float[Array, '*b v'], targets: Int[Array, '*b']) -> Float[Array, '*b']:
  """-ln p(target), nats, in float32 or wider."""
  logits = logits.astype(at_least_float32(logits.dtype))
  target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
  return jax.nn.logsumexp(logits, axis=-1) - target


def masked_sum(
  values: Float[Array, '*b'], ok: Bool[Array, '*b']
) -> tuple[Float[Array, ''], Float[Array, '']]:
  """The sum and the count of the values where ok, float32 or wider; other values may be NaN."""
  dtype = at_least_float32(values.dtype)
  return jnp.where(ok, values, 0).sum(dtype=dtype), ok.sum(dtype=dtype)
