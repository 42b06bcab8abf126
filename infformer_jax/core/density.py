"""The densities with which a head reads the signal, in closed form: expectations, masses, KL.

A density is named 'gaussian' or 'sparsemax' and located by μ in [0, 1] and σ² > 0:

    gaussian    p(t) = N(t; μ, σ²)
    sparsemax   p(t) = max(0, a² - (t - μ)²) / (2σ²),  a = (3/2 σ²)^(1/3)

Source: Martins, Farinhas, Treviso, Niculae, Aguiar, Figueiredo, "Sparse and Continuous Attention
Mechanisms" (2020), propositions 1 and 2, and Martins, Marinho, Martins, "∞-former" (2022).
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import erf, erfc
from jaxtyping import Float

from infformer_jax.core.basis import Basis, constant, harmonics, normal_pdf, offsets
from infformer_jax.errors import ConfigError

Density = Literal['gaussian', 'sparsemax']
DENSITIES: tuple[Density, ...] = ('gaussian', 'sparsemax')


@functools.partial(jax.jit, static_argnames=('basis', 'density', 'renormalize'))
def expectation(
  basis: Basis,
  density: Density,
  mu: Float[Array, '*b'],
  sigma_sq: Float[Array, '*b'],
  *,
  renormalize: bool = False,
) -> Float[jax.Array, '*b n']:
  """r_n = E[ψ_n(t)] under the density, in closed form for every family of basis.

  Outside [0, 1] a rectangular basis is zero and a Fourier series periodic, so that what a density has behind
  the newest falls on the oldest.

  Args:
    density: 'gaussian' or 'sparsemax'.
    mu: in [0, 1].
    sigma_sq: positive, in units of the whole signal squared.
    renormalize: condition the density on t in [0, 1]; the published code integrates over all reals.
  Raises:
    ConfigError: renormalize with a Fourier series, for which there is no closed form.
  """
  if basis.family == 'rectangular':
    mass_n = bin_masses(density, mu, sigma_sq, num_bins=basis.num_basis)
    total = mass_n.sum(-1, keepdims=True) if renormalize else 1
    return basis.num_basis * mass_n / total
  if basis.family == 'fourier':
    if renormalize:
      raise ConfigError("renormalize = True with basis = 'fourier': use 'gaussian' or 'rectangular'.")
    return harmonics(basis, mu) * _damping(basis, density, sigma_sq)
  rule = {'gaussian': _gaussian_expectation, 'sparsemax': _sparsemax_expectation}[density]
  sigmas_n = jnp.asarray(basis.sigmas_n, mu.dtype)
  return rule(mu[..., None], sigma_sq[..., None], offsets(basis, mu), sigmas_n, renormalize)


def _gaussian_expectation(mu: Array, sigma_sq: Array, d_n: Array, w_n: Array, renormalize: bool) -> jax.Array:
  variance_n = sigma_sq + w_n**2
  r_n = normal_pdf(d_n, variance_n)
  if not renormalize:
    return r_n
  # N(t; μ, σ²) N(t; c, w²) = N(μ; c, σ² + w²) N(t; m, s²): the mass of the last on [0, 1].
  m_n, s_n = mu - d_n * sigma_sq / variance_n, jnp.sqrt(sigma_sq / variance_n) * w_n
  sigma = jnp.sqrt(sigma_sq)
  return r_n * _normal_mass(-m_n / s_n, (1 - m_n) / s_n) / _normal_mass(-mu / sigma, (1 - mu) / sigma)


def _sparsemax_expectation(
  mu: Array, sigma_sq: Array, d_n: Array, w_n: Array, renormalize: bool
) -> jax.Array:
  """3/4 ∫ (1 - u²) ψ(μ + a u) du over the support u in [lower, upper], divided by the mass if asked."""
  a = jnp.cbrt(1.5 * sigma_sq)
  lower, upper = -jnp.ones_like(a), jnp.ones_like(a)
  if renormalize:
    lower, upper = jnp.maximum(-mu / a, -1), jnp.minimum((1 - mu) / a, 1)
  z_lower_n, z_upper_n = (d_n + a * lower) / w_n, (d_n + a * upper) / w_n
  # Antiderivatives of the moments of a Gaussian give the integral in closed form ...
  closed_n = (a**2 - d_n**2 - w_n**2) * _normal_mass(z_lower_n, z_upper_n) + w_n * (
    (a * upper - d_n) * _standard_pdf(z_upper_n) - (a * lower - d_n) * _standard_pdf(z_lower_n)
  )
  # ... whose terms cancel where the support is much narrower than ψ: there by quadrature, as exact.
  narrow_n = a < 0.5 * w_n
  quadrature_n = _narrow_support(jnp.where(narrow_n, a / w_n, 0), d_n / w_n, lower, upper) / w_n
  r_n = jnp.where(narrow_n, quadrature_n, closed_n / (2 * jnp.where(narrow_n, 1, sigma_sq)))
  if not renormalize:
    return r_n
  return r_n / (_parabola_cdf(upper) - _parabola_cdf(lower))


def _damping(basis: Basis, density: Density, sigma_sq: Array) -> jax.Array:
  """What a density makes of every frequency: its characteristic function, centred, which is real."""
  omega_n = jnp.asarray(2 * math.pi * basis.frequencies_n, sigma_sq.dtype)
  if density == 'gaussian':
    return jnp.exp(-0.5 * omega_n**2 * sigma_sq[..., None])
  x_n = omega_n * jnp.cbrt(1.5 * sigma_sq)[..., None]
  small_n = x_n < 0.5
  near_n, far_n = jnp.where(small_n, x_n, 0), jnp.where(small_n, 1, x_n)
  # 3 (sin x - x cos x) / x³, and its series where the terms cancel.
  terms = [3 * (-1) ** k * (2 * k + 2) / math.factorial(2 * k + 3) for k in range(8)]
  series_n = jnp.polyval(jnp.asarray(terms[::-1], x_n.dtype), near_n**2)
  return jnp.where(small_n, series_n, 3 * (jnp.sin(far_n) - far_n * jnp.cos(far_n)) / far_n**3)


def _narrow_support(rho_n: Array, z_n: Array, lower: Array, upper: Array) -> jax.Array:
  """3/4 ∫ (1 - u²) φ(z + ρ u) du by Gauss-Legendre: eight nodes leave 1e-14 for ρ up to 1/2."""
  nodes, weights = (jnp.asarray(a, z_n.dtype) for a in np.polynomial.legendre.leggauss(8))
  half = 0.5 * (upper - lower)[..., None]
  u = lower[..., None] + half * (nodes + 1)
  return (0.75 * weights * half * (1 - u**2) * _standard_pdf(z_n[..., None] + rho_n[..., None] * u)).sum(-1)


def _parabola_cdf(u: jax.Array) -> jax.Array:
  """3/4 ∫ (1 - u²) du from 0 to u."""
  return 0.75 * u * (1 - u**2 / 3)


def _standard_pdf(z: Array) -> jax.Array:
  return jnp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _normal_mass(lower: Array, upper: Array) -> jax.Array:
  """P(lower < z < upper) of a standard normal, with small relative error in either tail."""
  flip = lower + upper < 0
  lower, upper = jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)
  mass = 0.5 * (erfc(lower * math.sqrt(0.5)) - erfc(upper * math.sqrt(0.5)))
  # In a very narrow interval the difference is mostly rounding, and the density nearly constant.
  narrow = (upper - lower) * _standard_pdf((lower + upper) / 2)
  return jnp.where(upper - lower < 1e-3, narrow, mass)


def kl_regularizer(
  sigma_sq: Float[Array, '*b'],
  sigma_0: float,
  *,
  mu: Float[Array, '*b'] | None = None,
  mu_0: float | None = None,
) -> Float[Array, '*b']:
  """KL(N(μ, σ²) ‖ N(μ0, σ0²)), elementwise; without μ0 the term of the mean is left out.

  Source: ∞-former, equation 19. The published code's test of mu_0 is inverted, so that its GPT-2 pulls
  μ towards the sentinel -1: give mu_0=-1 for that.

  >>> float(kl_regularizer(jnp.float32(0.25), 0.5))
  0.0
  """
  ratio = sigma_sq / sigma_0**2
  kl = 0.5 * (ratio - jnp.log(ratio) - 1)
  return kl if mu is None or mu_0 is None else kl + 0.5 * (mu - mu_0) ** 2 / sigma_0**2


@functools.partial(jax.jit, static_argnames='basis')
def moment_match(
  basis: Basis, weights_n: Float[Array, '*b n']
) -> tuple[Float[jax.Array, '*b'], Float[jax.Array, '*b']]:
  """Mean and variance of the mixture Σ_n weight_n ψ_n: the published variant without affines.

  Args:
    weights_n: summing to one: the softmax of the scores.
  Returns:
    μ and σ²; the variance includes each function's own w_n².
  """
  centres_n, sigmas_n = (jnp.asarray(a, weights_n.dtype) for a in (basis.centres_n, basis.sigmas_n))
  mu = (weights_n * centres_n).sum(-1)
  return mu, (weights_n * ((centres_n - mu[..., None]) ** 2 + sigmas_n**2)).sum(-1)


@functools.cache
def bin_edges(num_bins: int, margin: float = 0.0) -> Float[np.ndarray, '{num_bins}+1']:
  """j + 1 edges of j equal bins of [0, 1]; the outer two are moved outwards by the margin."""
  edges = np.linspace(0, 1, num_bins + 1)
  edges[0], edges[-1] = -margin, 1 + margin
  return constant(edges)


@functools.partial(jax.jit, static_argnames=('density', 'num_bins', 'margin'))
def bin_masses(
  density: Density,
  mu: Float[Array, '*b'],
  sigma_sq: Float[Array, '*b'],
  *,
  num_bins: int,
  margin: float = 0.0,
) -> Float[jax.Array, '*b {num_bins}']:
  """Mass of the density in each of j equal bins of [0, 1], by its CDF.

  Source: the published code's sticky memories, whose outer edges have a margin of 1e-6.
  """
  mu, sigma_sq = mu[..., None], sigma_sq[..., None]
  offset = jnp.asarray(bin_edges(num_bins, margin), mu.dtype) - mu
  if density == 'gaussian':
    cdf = 0.5 * erf(offset * jax.lax.rsqrt(2 * sigma_sq))
  else:
    cdf = _parabola_cdf(jnp.clip(offset / jnp.cbrt(1.5 * sigma_sq), -1, 1))
  return jnp.diff(cdf)
