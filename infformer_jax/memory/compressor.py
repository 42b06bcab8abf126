"""The parameters of a compressive memory: its compressor, and the decoder of a loss."""

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx

from infformer_jax.core import compression, initializers
from infformer_jax.types import Array

if TYPE_CHECKING:
  from infformer_jax.memory.compressive import CompressiveConfig

LEARNED = ('convolution', 'dilated')
"""The compressions that have parameters."""


class Compressor(nnx.Module):
  """Compresses a segment to its slots; has parameters where the compression is learned."""

  def __init__(self, config: 'CompressiveConfig', d_model: int, param_dtype: Any, *, rngs: nnx.Rngs):
    self.config = config
    if config.compression not in LEARNED:
      return
    dense = initializers.fan_in(in_axis=(0, 1), out_axis=2)

    def kernel(width: int) -> nnx.Param:
      return nnx.Param(dense(rngs.params(), (width, d_model, d_model), param_dtype))

    def bias() -> nnx.Param:
      return nnx.Param(jnp.zeros((d_model,), param_dtype))

    self.w_cde, self.b_e = kernel(config.rate), bias()
    if config.compression == 'dilated':
      steps = compression.dilations(config.rate)
      self.around_3de, self.around_e = nnx.List([kernel(3) for _ in steps]), nnx.List([bias() for _ in steps])

  def __call__(self, x_bld: Array) -> Array:
    """[b, l, d] -> [b, l/c, d]; not for 'most_used', which needs the attention received."""
    config = self.config
    if config.compression == 'mean':
      return compression.mean_pool(x_bld, config.rate)
    if config.compression == 'max':
      return compression.max_pool(x_bld, config.rate)
    if config.compression == 'convolution':
      return compression.convolve(x_bld, self.w_cde[...], self.b_e[...])
    kernels = tuple((w[...], b[...]) for w, b in zip(self.around_3de, self.around_e, strict=True))
    return compression.dilated(x_bld, kernels, self.w_cde[...], self.b_e[...])


class Decoder(nnx.Module):
  """Decodes slots to tokens; used only by the auto-encoding loss."""

  def __init__(self, rate: int, d_model: int, param_dtype: Any, *, rngs: nnx.Rngs):
    dense = initializers.fan_in(in_axis=1, out_axis=(0, 2))
    self.w_cde = nnx.Param(dense(rngs.params(), (rate, d_model, d_model), param_dtype))
    self.b_ce = nnx.Param(jnp.zeros((rate, d_model), param_dtype))

  def __call__(self, x_bmd: Array) -> Array:
    return compression.expand(x_bmd, self.w_cde[...], self.b_ce[...])
