"""Basis functions on [0, 1] in three families: Gaussians, the cells of a histogram, a Fourier series.

    gaussian      ψ_n(t) = N(t; c_n, w_n²), each a normalized density
    rectangular   n on the cell (n/N, (n+1)/N] and 0 elsewhere: N of them, each a normalized density
    fourier       √N · (1, √2 cos 2πt, √2 sin 2πt, √2 cos 4πt, ...), the first N

In all of them the sum of squares of a function over [0, 1] is about N, so that a ridge λ and what multiplies
coefficients mean the same. A Fourier series has period 1: it joins the newest to the oldest.
"""

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from infformer_jax.errors import ConfigError

Family = Literal['gaussian', 'rectangular', 'fourier']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Basis:
  """Which functions span the signal. Gaussians: every centre carries each width, width varying fastest.

  Their centres are linspace(0, 1, n / number of widths). Source: the published code's
  `add_gaussian_basis_functions` (long_term_attention.py), whose widths are absolute.

  Raises:
    ConfigError: num_basis is not a positive multiple of the number of widths; a width is not positive; widths
      are given to a family that has none.
  """

  num_basis: int
  widths: tuple[float, ...] = (0.75,)  # of Gaussians
  unit: Literal['absolute', 'spacing'] = 'spacing'  # 'absolute': w; 'spacing': w / num_basis
  family: Family = 'gaussian'

  def __post_init__(self) -> None:
    if self.family not in ('gaussian', 'rectangular', 'fourier'):
      raise ConfigError(f"basis = {self.family!r}; use 'gaussian', 'rectangular' or 'fourier'.")
    if self.family != 'gaussian' and (self.widths, self.unit) != ((0.75,), 'spacing'):
      raise ConfigError(
        f"widths = {self.widths} with basis = {self.family!r}: only a 'gaussian' basis has them."
      )
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
    """Means of functions that are densities: read-only float64, in [0, 1]."""
    return _centres_and_sigmas(self)[0]

  @property
  def sigmas_n(self) -> Float[np.ndarray, 'n']:
    """Their read-only float64 standard deviations, in units of the whole signal."""
    return _centres_and_sigmas(self)[1]

  @property
  def frequencies_n(self) -> Float[np.ndarray, 'n']:
    """Periods in [0, 1] of the functions of a Fourier series: 0, 1, 1, 2, 2, ..."""
    return constant((np.arange(self.num_basis) + 1) // 2)

  @property
  def finest(self) -> float:
    """The scale of the finest detail, in units of the whole signal."""
    return float(self.sigmas_n.min()) if self.family == 'gaussian' else 1 / self.num_basis


def constant(array: np.ndarray) -> np.ndarray:
  """A read-only float64 copy: what cached functions may return."""
  array = np.array(array, np.float64)
  array.flags.writeable = False
  return array


@functools.cache
def _centres_and_sigmas(basis: Basis) -> tuple[np.ndarray, np.ndarray]:
  n = basis.num_basis
  if basis.family == 'rectangular':
    return constant((np.arange(n) + 0.5) / n), constant(np.full(n, 1 / (n * math.sqrt(12))))
  if basis.family == 'fourier':
    raise ConfigError("basis = 'fourier': its functions are not densities and have no centres.")
  groups = len(basis.widths)
  centres_n = np.repeat(np.linspace(0, 1, n // groups), groups)
  sigmas_n = np.tile(basis.widths, n // groups)
  return constant(centres_n), constant(sigmas_n / n if basis.unit == 'spacing' else sigmas_n)


def normal_pdf(x: Float[Array, '*b'], variance: Float[Array, '*#b']) -> Float[jax.Array, '*b']:
  """N(x; 0, variance)."""
  return jnp.exp(-0.5 * x * x / variance) / jnp.sqrt(2 * math.pi * variance)


def offsets(basis: Basis, t: Float[Array, '*b']) -> Float[jax.Array, '*b n']:
  """t - c_n, for centres that t's dtype does not hold exactly: narrow widths magnify what it rounds away."""
  high_n = jnp.asarray(basis.centres_n, t.dtype)
  low_n = jnp.asarray(basis.centres_n - basis.centres_n.astype(t.dtype), t.dtype)
  return jnp.asarray(t)[..., None] - high_n - low_n


def harmonics(basis: Basis, t: Float[Array, '*b']) -> Float[jax.Array, '*b n']:
  """The functions of a Fourier series at any real t, each within its own √(2N)."""
  size = basis.num_basis
  count = size // 2 + 1
  # Turns are reduced to [-1/2, 1/2] before they meet π.
  turns = jnp.asarray(t)[..., None] * jnp.arange(count, dtype=t.dtype)
  angle = 2 * math.pi * (turns - jnp.round(turns))
  pairs = math.sqrt(2 * size) * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
  constant_one = jnp.full((*jnp.shape(t), 1), math.sqrt(size), pairs.dtype)
  paired = pairs[..., 1:, :].reshape(*jnp.shape(t), 2 * count - 2)
  return jnp.concatenate([constant_one, paired], axis=-1)[..., :size]


@functools.partial(jax.jit, static_argnames='basis')
def evaluate(basis: Basis, t_p: Float[Array, '*b p']) -> Float[jax.Array, '*b p n']:
  """ψ_n at the times t [..., p] -> [..., p, n], in t's dtype."""
  t_p = jnp.asarray(t_p)
  if basis.family == 'fourier':
    return harmonics(basis, t_p)
  if basis.family == 'rectangular':
    # A time that rounding has put behind the edge that it means stays in the cell before it.
    slack = 16 * basis.num_basis * jnp.finfo(t_p.dtype).eps
    cell_p = jnp.ceil(t_p * basis.num_basis - slack) - 1
    cell_p = jnp.where((t_p >= 0) & (cell_p < 0), 0, cell_p)  # 0 itself is in the first.
    return basis.num_basis * (cell_p[..., None] == jnp.arange(basis.num_basis)).astype(t_p.dtype)
  return normal_pdf(offsets(basis, t_p), jnp.asarray(basis.sigmas_n, t_p.dtype) ** 2)


def evaluate_on_host(basis: Basis, t_p: Float[np.ndarray, 'p']) -> Float[np.ndarray, 'p n']:
  """The same in NumPy and float64, for the constants of a write."""
  n = basis.num_basis
  if basis.family == 'fourier':
    angle_pn = 2 * math.pi * t_p[:, None] * basis.frequencies_n
    odd_n = np.arange(n) % 2 == 1
    return math.sqrt(2 * n) * np.where(
      odd_n, np.cos(angle_pn), np.where(basis.frequencies_n == 0, math.sqrt(0.5), np.sin(angle_pn))
    )
  if basis.family == 'rectangular':
    cell_p = np.ceil(t_p * n - 16 * n * np.finfo(np.float64).eps) - 1
    cell_p = np.where((t_p >= 0) & (cell_p < 0), 0, cell_p)
    return n * (cell_p[:, None] == np.arange(n)).astype(np.float64)
  z_pn = (t_p[:, None] - basis.centres_n) / basis.sigmas_n
  return np.exp(-0.5 * z_pn * z_pn) / (math.sqrt(2 * math.pi) * basis.sigmas_n)
