"""The normal distribution: values and masses with small relative errors."""

import math
from types import ModuleType

import jax.numpy as jnp
from jax.scipy.special import erfc
from jaxtyping import Array, Float

from infformer_jax.core.arrays import ArrayT


def normal_pdf(x: Float[ArrayT, '*b'], variance: Float[ArrayT, '*#b'], xp: ModuleType) -> Float[ArrayT, '*b']:
  """N(x; 0, variance), by the functions of `xp`: numpy or jax.numpy."""
  return xp.exp(-0.5 * x * x / variance) / xp.sqrt(2 * math.pi * variance)


def standard_pdf(z: Float[Array, '*b']) -> Float[Array, '*b']:
  """N(z; 0, 1)."""
  return jnp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def interval_mass(lower: Float[Array, '*b'], upper: Float[Array, '*b']) -> Float[Array, '*b']:
  """P(lower < z < upper) of a standard normal, with small relative error in either tail."""
  flip = lower + upper < 0
  lower, upper = jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)
  mass = 0.5 * (erfc(lower * math.sqrt(0.5)) - erfc(upper * math.sqrt(0.5)))
  # In a very narrow interval the difference is mostly rounding, and the density nearly constant.
  narrow = (upper - lower) * standard_pdf((lower + upper) / 2)
  return jnp.where(upper - lower < 1e-3, narrow, mass)
