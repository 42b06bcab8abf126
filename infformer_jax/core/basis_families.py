"""The three families of basis functions on [0, 1].

    GaussianBasis       ψ_n(t) = N(t; c_n, w_n²), each a normalized density
    RectangularBasis    N on the cell (n/N, (n+1)/N] and 0 elsewhere: N of them, each a normalized density
    FourierBasis        √N · (1, √2 cos 2πt, √2 sin 2πt, √2 cos 4πt, ...), the first N

A Fourier series has period 1: the newest and the oldest are adjacent.
"""

import dataclasses
import functools
import math
from types import ModuleType
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from infformer_jax.core.arrays import ArrayT, on_last_axis
from infformer_jax.core.basis import Basis, constant
from infformer_jax.core.density import Density, bin_masses
from infformer_jax.core.normal import normal_pdf
from infformer_jax.core.quadrature import Cells, Quadrature
from infformer_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianBasis(Basis):
  """Gaussians: each centre has one function per width; the width varies fastest.

  Their centres are linspace(0, 1, n / number of widths). Source: the published code's
  `add_gaussian_basis_functions` (long_term_attention.py), whose widths are absolute.

  Raises:
    ConfigError: num_basis is no multiple of the number of widths; a width is not positive.
  """

  widths: tuple[float, ...] = (0.75,)
  width_unit: Literal['absolute', 'spacing'] = 'spacing'  # 'absolute': w; 'spacing': w / num_basis

  def __post_init__(self) -> None:
    if not self.widths or min(self.widths) <= 0:
      raise ConfigError(f'widths = {self.widths} must be one or more positive widths, such as (0.75,)')
    if self.width_unit not in ('absolute', 'spacing'):
      raise ConfigError(f"width_unit = {self.width_unit!r} must be 'absolute' or 'spacing'")
    super().__post_init__()
    n, groups = self.num_basis, len(self.widths)
    if n % groups:
      lower = n // groups * groups
      valid = f'{lower} or {lower + groups}' if lower else f'{groups}'
      raise ConfigError(
        f'num_basis = {n} must be a multiple of the {groups} widths in widths = {self.widths}; '
        f'use {valid}, or give one width'
      )

  @property
  def localized(self) -> bool:
    return True

  @property
  def centres_n(self) -> Float[np.ndarray, 'n']:
    return _centres_and_sigmas(self)[0]

  @property
  def sigmas_n(self) -> Float[np.ndarray, 'n']:
    return _centres_and_sigmas(self)[1]

  @property
  def finest(self) -> float:
    return float(self.sigmas_n.min())

  @property
  def spacing(self) -> float:
    return 1 / max(1, self.num_basis // len(self.widths) - 1)

  def functions(self, t: Float[ArrayT, '*b'], xp: ModuleType) -> Float[ArrayT, '*b n']:
    variance_n = xp.asarray(self.sigmas_n, t.dtype) ** 2
    return normal_pdf(self.offsets(t), on_last_axis(variance_n, t.ndim + 1), xp)

  def expected(
    self,
    density: Density,
    mu: Float[Array, '*b'],
    sigma_sq: Float[Array, '*b'],
    *,
    renormalize: bool,
    start: Float[Array, '*#b'] | float = 0.0,
  ) -> Float[Array, '*b n']:
    widths_n = on_last_axis(jnp.asarray(self.sigmas_n, mu.dtype), mu.ndim + 1)
    return density.normals(
      mu[..., None],
      sigma_sq[..., None],
      self.offsets(mu),
      widths_n,
      renormalize=renormalize,
      start=jnp.broadcast_to(jnp.asarray(start, mu.dtype), mu.shape)[..., None],
    )

  def offsets(self, t: Float[ArrayT, '*b']) -> Float[ArrayT, '*b n']:
    """t - c_n, for centres that t's dtype does not hold exactly: narrow widths magnify their rounding."""
    high_n = self.centres_n.astype(t.dtype)
    low_n = (self.centres_n - high_n.astype(np.float64)).astype(t.dtype)
    return t[..., None] - on_last_axis(high_n, t.ndim + 1) - on_last_axis(low_n, t.ndim + 1)


@functools.cache
def _centres_and_sigmas(basis: GaussianBasis) -> tuple[np.ndarray, np.ndarray]:
  n, groups = basis.num_basis, len(basis.widths)
  centres_n = np.repeat(np.linspace(0, 1, n // groups), groups)
  sigmas_n = np.tile(basis.widths, n // groups)
  return constant(centres_n), constant(sigmas_n / n if basis.width_unit == 'spacing' else sigmas_n)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RectangularBasis(Basis):
  """The cells of a histogram; outside [0, 1] they are zero."""

  @property
  def localized(self) -> bool:
    return True

  @property
  def centres_n(self) -> Float[np.ndarray, 'n']:
    return Cells(self.num_basis).times_p

  @property
  def sigmas_n(self) -> Float[np.ndarray, 'n']:
    return np.full(self.num_basis, 1 / (self.num_basis * math.sqrt(12)))

  def functions(self, t: Float[ArrayT, '*b'], xp: ModuleType) -> Float[ArrayT, '*b n']:
    # A time that rounding moved just beyond an edge stays in the cell before the edge.
    slack = 16 * self.num_basis * float(jnp.finfo(t.dtype).eps)
    cell = xp.ceil(t * self.num_basis - slack) - 1
    cell = xp.where((t >= 0) & (cell < 0), 0, cell)  # 0 itself is in the first cell.
    cells_n = np.arange(self.num_basis).astype(t.dtype)
    return self.num_basis * (cell[..., None] == on_last_axis(cells_n, t.ndim + 1)).astype(t.dtype)

  def expected(
    self,
    density: Density,
    mu: Float[Array, '*b'],
    sigma_sq: Float[Array, '*b'],
    *,
    renormalize: bool,
    start: Float[Array, '*#b'] | float = 0.0,
  ) -> Float[Array, '*b n']:
    num = self.num_basis
    return num * bin_masses(density, mu, sigma_sq, num_bins=num, renormalize=renormalize, start=start)

  def quadrature(self, gibbs_grid: int | None = None) -> Quadrature:
    if gibbs_grid is not None:
      raise ConfigError(f"gibbs_grid = {gibbs_grid} must be None with basis = 'rectangular', which is exact")
    return Cells(self.num_basis)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FourierBasis(Basis):
  """A Fourier series of period 1: the mass of a density beyond the newest is added to the oldest."""

  @property
  def localized(self) -> bool:
    return False

  @property
  def centres_n(self) -> Float[np.ndarray, 'n']:
    raise ConfigError(
      "basis = 'fourier' has no centres: its functions are no densities; use 'gaussian' or 'rectangular'"
    )

  sigmas_n = centres_n

  @property
  def frequencies_n(self) -> Float[np.ndarray, 'n']:
    """Periods in [0, 1] of every function: 0, 1, 1, 2, 2, ..."""
    return ((np.arange(self.num_basis) + 1) // 2).astype(np.float64)

  def functions(self, t: Float[ArrayT, '*b'], xp: ModuleType) -> Float[ArrayT, '*b n']:
    size, count = self.num_basis, self.num_basis // 2 + 1
    # Turns are reduced to [-1/2, 1/2] before the multiplication by π.
    turns = t[..., None] * on_last_axis(np.arange(count).astype(t.dtype), t.ndim + 1)
    angle = 2 * math.pi * (turns - xp.round(turns))
    pairs = math.sqrt(2 * size) * xp.stack([xp.cos(angle), xp.sin(angle)], axis=-1)
    constant_one = xp.full((*t.shape, 1), math.sqrt(size), t.dtype)
    paired = pairs[..., 1:, :].reshape(*t.shape, 2 * count - 2)
    return xp.concatenate([constant_one, paired], axis=-1)[..., :size]

  def expected(
    self,
    density: Density,
    mu: Float[Array, '*b'],
    sigma_sq: Float[Array, '*b'],
    *,
    renormalize: bool,
    start: Float[Array, '*#b'] | float = 0.0,
  ) -> Float[Array, '*b n']:
    if renormalize:
      raise ConfigError(
        "renormalize = True must be False with basis = 'fourier'; or use 'gaussian' or 'rectangular'"
      )
    omega_n = on_last_axis(jnp.asarray(2 * math.pi * self.frequencies_n, mu.dtype), mu.ndim + 1)
    return self.functions(mu, jnp) * density.damping(omega_n, sigma_sq[..., None])
