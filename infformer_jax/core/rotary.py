"""Rotary positions: queries and keys are rotated, so that their product depends on their distance."""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from infformer_jax.core import positions
from infformer_jax.core.arrays import at_least_float32
from infformer_jax.errors import ConfigError, check_range


@dataclasses.dataclass(frozen=True, kw_only=True)
class RotaryScaling:
  """Llama 3's slower rotations, for distances beyond those of its first training; the names are theirs.

  A frequency ω turns L ω / 2π times in the original length L. Frequencies with more than `high_freq_factor`
  turns stay, those with less than `low_freq_factor` are divided by `factor`, and between them both are mixed.

  Source: Llama 3.1 (Dubey et al. 2024); published code: llama-models, models/llama3/model.py, apply_scaling.

  Raises:
    ConfigError: a value is out of range.
  """

  factor: float
  low_freq_factor: float = 1.0
  high_freq_factor: float = 4.0
  original_max_position_embeddings: int = 8192  # L, tokens

  def __post_init__(self) -> None:
    check_range('original_max_position_embeddings', self.original_max_position_embeddings, 1)
    for name in ('factor', 'low_freq_factor'):
      if (value := getattr(self, name)) <= 0:
        raise ConfigError(f'{name} = {value} must be positive')
    if self.high_freq_factor <= self.low_freq_factor:
      raise ConfigError(
        f'high_freq_factor = {self.high_freq_factor} must be larger than low_freq_factor = '
        f'{self.low_freq_factor}'
      )

  def scaled(self, omega: np.ndarray) -> np.ndarray:
    """The frequencies, in radians per token, after the rule."""
    turns = self.original_max_position_embeddings * omega / (2 * math.pi)  # in L tokens
    keep = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
    return omega * (keep.clip(0, 1) * (1 - 1 / self.factor) + 1 / self.factor)


@functools.cache
def frequencies(size: int, base: float = 10_000.0, scaling: RotaryScaling | None = None) -> np.ndarray:
  """ω [size/2] = base^(-2i/size) in radians per token, scaled; float64, read-only."""
  omega = positions.inverse_frequencies(size, base)
  if scaling is not None:
    omega = scaling.scaled(omega)
    omega.flags.writeable = False
  return omega


def rotated(
  x: Float[Array, '*b t h k'], position: Float[Array, '*#b t'], omega: np.ndarray
) -> Float[Array, '*b t h k']:
  """Rotates the two halves of every head by position·ω (Su et al. 2021).

  Args:
    x: queries or keys; k even.
    position: any real numbers, float32 or wider; a key of age a is at -a.
    omega: of `frequencies`, k/2 of them.
  Returns:
    x rotated, in x's dtype.
  """
  angle = positions.angles(position, omega)[..., None, :]
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  first, second = jnp.split(x.astype(at_least_float32(x.dtype, angle.dtype)), 2, axis=-1)
  both = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return both.astype(x.dtype)
