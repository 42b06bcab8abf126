"""Gaussian basis functions on [0, 1]: ψ_n(t) = N(t; c_n, w_n²), each a normalized density."""

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from infformer_jax.config import ConfigError
from infformer_jax.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Basis:
  """Which functions span the signal: every centre carries each of the widths, width varying fastest.

  The centres are linspace(0, 1, n / number of widths). Source: the published code's
  `add_gaussian_basis_functions` (long_term_attention.py), whose widths are absolute.

  Raises:
    ConfigError: num_basis is not a positive multiple of the number of widths; a width is not positive.
  """

  num_basis: int
  widths: tuple[float, ...]
  unit: Literal['absolute', 'spacing'] = 'spacing'  # 'absolute': w; 'spacing': w / num_basis

  def __post_init__(self) -> None:
    if not self.widths or min(self.widths) <= 0:
      raise ConfigError(f'widths = {self.widths}: give one or more positive widths, such as (0.75,).')
    if self.unit not in ('absolute', 'spacing'):
      raise ConfigError(f"unit = {self.unit!r} of the widths; use 'absolute' or 'spacing'.")
    n, groups = self.num_basis, len(self.widths)
    if n < groups or n % groups:
      lower, upper = max(n // groups, 1) * groups, (max(n // groups, 0) + 1) * groups
      valid = f'{lower} or {upper}' if lower < upper and n > groups else f'{upper if n > 0 else groups}'
      raise ConfigError(
        f'num_basis = {n} is not a positive multiple of the {groups} widths in widths = {self.widths}; '
        f'use {valid}' + (', or give one width.' if groups > 1 else '.')
      )

  @property
  def centres_n(self) -> Float[np.ndarray, 'n']:
    """Read-only float64, in [0, 1]."""
    return _centres_and_sigmas(self)[0]

  @property
  def sigmas_n(self) -> Float[np.ndarray, 'n']:
    """Read-only float64 standard deviations, in units of the whole signal."""
    return _centres_and_sigmas(self)[1]


def constant(array: np.ndarray) -> np.ndarray:
  """A read-only float64 copy: what cached functions may return."""
  array = np.array(array, np.float64)
  array.flags.writeable = False
  return array


@functools.cache
def _centres_and_sigmas(basis: Basis) -> tuple[np.ndarray, np.ndarray]:
  groups = len(basis.widths)
  centres_n = np.repeat(np.linspace(0, 1, basis.num_basis // groups), groups)
  sigmas_n = np.tile(basis.widths, basis.num_basis // groups)
  return constant(centres_n), constant(sigmas_n / basis.num_basis if basis.unit == 'spacing' else sigmas_n)


def normal_pdf(x: Float[Array, '*b'], variance: Float[Array, '*#b']) -> Float[jax.Array, '*b']:
  """N(x; 0, variance)."""
  return jnp.exp(-0.5 * x * x / variance) / jnp.sqrt(2 * math.pi * variance)


def offsets(basis: Basis, t: Float[Array, '*b']) -> Float[jax.Array, '*b n']:
  """t - c_n, for centres that t's dtype does not hold exactly: narrow widths magnify what it rounds away."""
  high_n = jnp.asarray(basis.centres_n, t.dtype)
  low_n = jnp.asarray(basis.centres_n - basis.centres_n.astype(t.dtype), t.dtype)
  return jnp.asarray(t)[..., None] - high_n - low_n


@functools.partial(jax.jit, static_argnames='basis')
def evaluate(basis: Basis, t_p: Float[Array, '*b p']) -> Float[jax.Array, '*b p n']:
  """ψ_n at the times t [..., p] -> [..., p, n], in t's dtype."""
  return normal_pdf(offsets(basis, t_p), jnp.asarray(basis.sigmas_n, t_p.dtype) ** 2)


def evaluate_on_host(basis: Basis, t_p: Float[np.ndarray, 'p']) -> Float[np.ndarray, 'p n']:
  """The same in NumPy and float64, for the constants of a write."""
  z_pn = (t_p[:, None] - basis.centres_n) / basis.sigmas_n
  return np.exp(-0.5 * z_pn * z_pn) / (math.sqrt(2 * math.pi) * basis.sigmas_n)
