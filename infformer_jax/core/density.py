"""Densities over time, located by μ in [0, 1] and σ² > 0, with their closed forms.

    GaussianDensity     p(t) = N(t; μ, σ²)
    SparsemaxDensity    p(t) = max(0, a² - (t - μ)²) / (2σ²),  a = (3/2 σ²)^(1/3)

A basis computes the expectations of its functions from these closed forms (core/basis.py).

Source: Martins, Farinhas, Treviso, Niculae, Aguiar, Figueiredo, "Sparse and Continuous Attention
Mechanisms" (2020), propositions 1 and 2, and Martins, Marinho, Martins, "∞-former" (2022).
"""

import abc
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from infformer_jax.core.arrays import on_last_axis
from infformer_jax.core.normal import interval_mass, normal_pdf, standard_pdf


@dataclasses.dataclass(frozen=True)
class Density(abc.ABC):
  """One family of densities. All arrays of a method have the same rank."""

  @abc.abstractmethod
  def normals(
    self,
    mu: Float[Array, '*b 1'],
    sigma_sq: Float[Array, '*b 1'],
    offset_n: Float[Array, '*b n'],
    width_n: Float[Array, '*#b n'],
    *,
    renormalize: bool,
    start: Float[Array, '*#b 1'] | float = 0.0,
  ) -> Float[Array, '*b n']:
    """E[N(t; c_n, w_n²)] for c_n = μ - offset_n; `renormalize` conditions the density on t in [start, 1]."""

  @abc.abstractmethod
  def damping(self, omega_n: Float[Array, '*#b n'], sigma_sq: Float[Array, '*b 1']) -> Float[Array, '*b n']:
    """E[cos ω_n (t - μ)]: the characteristic function of the centred density, which is real."""

  @abc.abstractmethod
  def cdf(self, offset: Float[Array, '*b j'], sigma_sq: Float[Array, '*b 1']) -> Float[Array, '*b j']:
    """P(t < μ + offset), up to a constant."""


class GaussianDensity(Density):
  """The Gaussian, with support on all reals: the published density."""

  def normals(
    self,
    mu: Float[Array, '*b 1'],
    sigma_sq: Float[Array, '*b 1'],
    offset_n: Float[Array, '*b n'],
    width_n: Float[Array, '*#b n'],
    *,
    renormalize: bool,
    start: Float[Array, '*#b 1'] | float = 0.0,
  ) -> Float[Array, '*b n']:
    """N(μ; c_n, σ² + w_n²)."""
    variance_n = sigma_sq + width_n**2
    r_n = normal_pdf(offset_n, variance_n, jnp)
    if not renormalize:
      return r_n
    # N(t; μ, σ²) N(t; c, w²) = N(μ; c, σ² + w²) N(t; m, s²): the mass of the last on [start, 1].
    m_n, s_n = mu - offset_n * sigma_sq / variance_n, jnp.sqrt(sigma_sq / variance_n) * width_n
    sigma = jnp.sqrt(sigma_sq)
    inside_n = interval_mass((start - m_n) / s_n, (1 - m_n) / s_n)
    return r_n * inside_n / interval_mass((start - mu) / sigma, (1 - mu) / sigma)

  def damping(self, omega_n: Float[Array, '*#b n'], sigma_sq: Float[Array, '*b 1']) -> Float[Array, '*b n']:
    """exp(-ω²σ²/2)."""
    return jnp.exp(-0.5 * omega_n**2 * sigma_sq)

  def cdf(self, offset: Float[Array, '*b j'], sigma_sq: Float[Array, '*b 1']) -> Float[Array, '*b j']:
    """erf(offset / √(2σ²)) / 2."""
    return 0.5 * jax.scipy.special.erf(offset * jax.lax.rsqrt(2 * sigma_sq))


class SparsemaxDensity(Density):
  """The truncated parabola, with support on [μ - a, μ + a] and variance a²/5."""

  def normals(
    self,
    mu: Float[Array, '*b 1'],
    sigma_sq: Float[Array, '*b 1'],
    offset_n: Float[Array, '*b n'],
    width_n: Float[Array, '*#b n'],
    *,
    renormalize: bool,
    start: Float[Array, '*#b 1'] | float = 0.0,
  ) -> Float[Array, '*b n']:
    """3/4 ∫ (1 - u²) N(μ + a u; c_n, w_n²) du over the support u in [lower, upper]."""
    a = jnp.cbrt(1.5 * sigma_sq)
    lower, upper = -jnp.ones_like(a), jnp.ones_like(a)
    if renormalize:
      lower, upper = jnp.maximum((start - mu) / a, -1), jnp.minimum((1 - mu) / a, 1)
    z_lower_n, z_upper_n = (offset_n + a * lower) / width_n, (offset_n + a * upper) / width_n
    # The closed form of the integral, from antiderivatives of the moments of a Gaussian.
    closed_n = (a**2 - offset_n**2 - width_n**2) * interval_mass(z_lower_n, z_upper_n) + width_n * (
      (a * upper - offset_n) * standard_pdf(z_upper_n) - (a * lower - offset_n) * standard_pdf(z_lower_n)
    )
    # Its terms cancel where the support is much narrower than the function; quadrature is exact there.
    narrow_n = a < 0.5 * width_n
    rho_n = jnp.where(narrow_n, a / width_n, 0)
    quadrature_n = _narrow_support(rho_n, offset_n / width_n, lower, upper) / width_n
    r_n = jnp.where(narrow_n, quadrature_n, closed_n / (2 * jnp.where(narrow_n, 1, sigma_sq)))
    if not renormalize:
      return r_n
    return r_n / (_parabola_cdf(upper) - _parabola_cdf(lower))

  def damping(self, omega_n: Float[Array, '*#b n'], sigma_sq: Float[Array, '*b 1']) -> Float[Array, '*b n']:
    """3 (sin x - x cos x) / x³ for x = a ω, and its series where the terms cancel."""
    x_n = omega_n * jnp.cbrt(1.5 * sigma_sq)
    small_n = x_n < 0.5
    near_n, far_n = jnp.where(small_n, x_n, 0), jnp.where(small_n, 1, x_n)
    terms = [3 * (-1) ** k * (2 * k + 2) / math.factorial(2 * k + 3) for k in range(8)]
    series_n = jnp.polyval(jnp.asarray(terms[::-1], x_n.dtype), near_n**2)
    return jnp.where(small_n, series_n, 3 * (jnp.sin(far_n) - far_n * jnp.cos(far_n)) / far_n**3)

  def cdf(self, offset: Float[Array, '*b j'], sigma_sq: Float[Array, '*b 1']) -> Float[Array, '*b j']:
    """3/4 (u - u³/3) for u = offset / a, cut to [-1, 1]."""
    return _parabola_cdf(jnp.clip(offset / jnp.cbrt(1.5 * sigma_sq), -1, 1))


def _narrow_support(rho_n: Array, z_n: Array, lower: Array, upper: Array) -> Array:
  """3/4 ∫ (1 - u²) φ(z + ρ u) du by Gauss-Legendre: eight nodes leave 1e-14 for ρ up to 1/2."""
  nodes, weights = (
    on_last_axis(jnp.asarray(a, z_n.dtype), z_n.ndim + 1) for a in np.polynomial.legendre.leggauss(8)
  )
  half = 0.5 * (upper - lower)[..., None]
  u = lower[..., None] + half * (nodes + 1)
  return (0.75 * weights * half * (1 - u**2) * standard_pdf(z_n[..., None] + rho_n[..., None] * u)).sum(-1)


def _parabola_cdf(u: Array) -> Array:
  """3/4 ∫ (1 - u²) du from 0 to u."""
  return 0.75 * u * (1 - u**2 / 3)


@functools.cache
def bin_edges(num_bins: int, margin: float = 0.0) -> Float[np.ndarray, '{num_bins}+1']:
  """j + 1 edges of j equal bins of [0, 1], the outer two moved outwards by the margin; read-only float64."""
  edges = np.linspace(0, 1, num_bins + 1)
  edges[0], edges[-1] = -margin, 1 + margin
  edges.flags.writeable = False
  return edges


@functools.partial(jax.jit, static_argnames=('density', 'num_bins', 'margin', 'renormalize'))
def bin_masses(
  density: Density,
  mu: Float[Array, '*b'],
  sigma_sq: Float[Array, '*b'],
  *,
  num_bins: int,
  margin: float = 0.0,
  renormalize: bool = False,
  start: Float[Array, '*#b'] | float = 0.0,
) -> Float[Array, '*b {num_bins}']:
  """Mass of the density in each of j equal bins of [0, 1], by its CDF.

  With `renormalize` of the density conditioned on [start, 1].

  Source: the published code's sticky memories, whose outer edges have a margin of 1e-6.
  """
  edges = on_last_axis(jnp.asarray(bin_edges(num_bins, margin), mu.dtype), mu.ndim + 1)
  mu, sigma_sq = mu[..., None], sigma_sq[..., None]
  if not renormalize:
    return jnp.diff(density.cdf(edges - mu, sigma_sq))
  start = jnp.broadcast_to(jnp.asarray(start, mu.dtype), mu.shape[:-1])[..., None]
  masses = jnp.diff(density.cdf(jnp.clip(edges, start, 1) - mu, sigma_sq))
  return masses / (density.cdf(1 - mu, sigma_sq) - density.cdf(start - mu, sigma_sq))


def kl_regularizer(
  sigma_sq: Float[Array, '*b'],
  sigma_0: float,
  *,
  mu: Float[Array, '*b'] | None = None,
  mu_0: float | None = None,
) -> Float[Array, '*b']:
  """KL(N(μ, σ²) ‖ N(μ0, σ0²)), elementwise; without μ0 the term of the mean is omitted.

  Source: ∞-former, equation 19. The published code's test of mu_0 is inverted, so that its GPT-2 pulls
  μ towards the sentinel -1; mu_0=-1 reproduces this.

  >>> float(kl_regularizer(jnp.float32(0.25), 0.5))
  0.0
  """
  ratio = sigma_sq / sigma_0**2
  kl = 0.5 * (ratio - jnp.log(ratio) - 1)
  return kl if mu is None or mu_0 is None else kl + 0.5 * (mu - mu_0) ** 2 / sigma_0**2
