"""Densities, tested against quadrature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from infformer_jax.core import density as density_lib
from infformer_jax.core.basis import evaluate_on_host, expectation, moment_match
from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.errors import ConfigError
from tests.golden import TOLERANCE
from tests.golden.report import relative_error

BASES = [
  GaussianBasis(num_basis=8, widths=(0.005, 0.3), width_unit='absolute'),
  GaussianBasis(num_basis=9, widths=(0.75,)),
]
OTHERS = [RectangularBasis(num_basis=7), FourierBasis(num_basis=8)]
DENSITIES = [density_lib.GaussianDensity(), density_lib.SparsemaxDensity()]
MU = np.array([0.0, 0.02, 0.31, 0.5, 0.77, 1.0])
SIGMA = np.array([1e-3, 0.004, 0.03, 0.1, 0.4, 1.5])
PAIRS = [pair.ravel() for pair in np.meshgrid(MU, SIGMA)]


def support(density, mu, sigma):
  """An interval outside which the density is negligible."""
  half = np.cbrt(1.5 * sigma**2) if density == DENSITIES[1] else 12 * sigma
  return mu - half, mu + half


def pdf(density, t, mu, sigma):
  if density == DENSITIES[0]:
    return scipy.stats.norm.pdf(t, mu, sigma)
  return np.maximum(0, np.cbrt(1.5 * sigma**2) ** 2 - (t - mu) ** 2) / (2 * sigma**2)


def integral(f, lower, upper, breaks=()):
  """Gauss-Legendre quadrature with many nodes between the breaks."""
  nodes, weights = np.polynomial.legendre.leggauss(48)
  edges = np.unique(np.clip([lower, *breaks, upper], lower, upper))
  edges = np.unique(np.concatenate([np.linspace(a, b, 9) for a, b in itertools.pairwise(edges)]))
  half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
  t = middle[:, None] + half[:, None] * nodes
  return (f(t) * weights * half[:, None]).sum()


def expected(density, basis, mu, sigma, renormalize, start=0.0):
  lower, upper = support(density, mu, sigma)
  if renormalize:
    lower, upper = max(lower, start), min(upper, 1)
  mass = integral(lambda t: pdf(density, t, mu, sigma), lower, upper) if renormalize else 1

  def moment(c, w):
    breaks = [c + i * w for i in range(-10, 11)]
    product = lambda t: pdf(density, t, mu, sigma) * scipy.stats.norm.pdf(t, c, w)  # noqa: E731
    return integral(product, lower, upper, breaks) / mass

  return [moment(c, w) for c, w in zip(basis.centres_n, basis.sigmas_n, strict=True)]


@pytest.mark.parametrize('basis', BASES, ids=['absolute', 'spacing'])
@pytest.mark.parametrize('renormalize', [False, True], ids=['reals', 'unit'])
@pytest.mark.parametrize('density', DENSITIES, ids=['gaussian', 'sparsemax'])
def test_expectations_equal_quadrature(density, renormalize, basis):
  mu, sigma = PAIRS
  ours = expectation(basis, density, mu, sigma**2, renormalize=renormalize)
  theirs = np.array([expected(density, basis, m, s, renormalize) for m, s in zip(mu, sigma, strict=True)])
  assert relative_error(ours, theirs) < TOLERANCE


@pytest.mark.parametrize('basis', OTHERS, ids=['rectangular', 'fourier'])
@pytest.mark.parametrize('renormalize', [False, True], ids=['reals', 'unit'])
@pytest.mark.parametrize('density', DENSITIES, ids=['gaussian', 'sparsemax'])
def test_expectations_of_the_other_families_equal_quadrature(density, renormalize, basis):
  mu, sigma = PAIRS
  if renormalize and isinstance(basis, FourierBasis):
    with pytest.raises(ConfigError, match='renormalize = True'):
      expectation(basis, density, mu, sigma**2, renormalize=True)
    return
  ours = expectation(basis, density, mu, sigma**2, renormalize=renormalize)
  for r_n, m, s in zip(ours, mu, sigma, strict=True):
    lower, upper = support(density, m, s)
    if isinstance(basis, RectangularBasis):  # A cell is a bin with the value n.
      edges = np.clip(np.arange(8) / 7, lower, upper)
      mass = lambda a, b, m=m, s=s: integral(lambda t: pdf(density, t, m, s), a, b, [m]) if a < b else 0  # noqa: E731
      total = mass(*np.clip([0, 1], lower, upper)) if renormalize else 1
      expected_n = [7 * mass(a, b) / total for a, b in itertools.pairwise(edges)]
    else:
      breaks = np.linspace(lower, upper, 40)
      waves = [lambda t: t**0]
      for j in range(1, 5):
        waves += [lambda t, f=f, j=j: f(2 * np.pi * j * t) * 2**0.5 for f in (np.cos, np.sin)]
      expected_n = [
        8**0.5 * integral(lambda t, w=w, m=m, s=s: w(t) * pdf(density, t, m, s), lower, upper, breaks)
        for w in waves[:8]
      ]
    assert np.abs(r_n - np.array(expected_n)).max() < TOLERANCE * 8


@pytest.mark.parametrize('basis', BASES, ids=['absolute', 'spacing'])
@pytest.mark.parametrize('density', DENSITIES, ids=['gaussian', 'sparsemax'])
def test_expectations_conditioned_on_a_span_equal_quadrature(density, basis):
  """Rows begin at different times; μ is in the span, also at its ends, and σ in its units."""
  mu, sigma = PAIRS
  start = np.resize([0.2, 0.7, 0.95], mu.shape)
  mu, sigma = start + (1 - start) * mu, (1 - start) * sigma
  ours = expectation(basis, density, mu, sigma**2, renormalize=True, start=start)
  rows = zip(mu, sigma, start, strict=True)
  theirs = np.array([expected(density, basis, m, s, True, first) for m, s, first in rows])
  assert relative_error(ours, theirs) < TOLERANCE


@pytest.mark.parametrize('density', DENSITIES, ids=['gaussian', 'sparsemax'])
def test_masses_conditioned_on_a_span_equal_quadrature(density):
  """Also expectations of rectangular functions, the masses of cells; a span begins inside a cell."""
  mu, sigma = PAIRS
  start = np.resize([0.2, 0.7, 0.95], mu.shape)
  mu, sigma = start + (1 - start) * mu, (1 - start) * sigma
  ours = density_lib.bin_masses(density, mu, sigma**2, num_bins=7, renormalize=True, start=start)
  expected_n = expectation(OTHERS[0], density, mu, sigma**2, renormalize=True, start=start)
  np.testing.assert_allclose(expected_n, 7 * ours, atol=1e-12)
  np.testing.assert_allclose(ours.sum(axis=-1), 1, atol=1e-12)
  for mass_n, m, s, first in zip(ours, mu, sigma, start, strict=True):
    lower, upper = support(density, m, s)
    mass = lambda a, b, m=m, s=s: integral(lambda t: pdf(density, t, m, s), a, b, [m]) if a < b else 0  # noqa: E731
    edges = np.clip(np.maximum(np.arange(8) / 7, first), lower, upper)
    total = mass(*np.clip([first, 1], lower, upper))
    np.testing.assert_allclose(mass_n, [mass(*ab) / total for ab in itertools.pairwise(edges)], atol=1e-9)


@pytest.mark.parametrize('basis', [BASES[0], *OTHERS], ids=['gaussian', 'rectangular', 'fourier'])
@pytest.mark.parametrize('renormalize', [False, True], ids=['reals', 'unit'])
@pytest.mark.parametrize('density', DENSITIES, ids=['gaussian', 'sparsemax'])
def test_gradients_equal_finite_differences(density, renormalize, basis):
  """With both rules of the sparsemax, and with a support that extends beyond [0, 1]."""
  sigma_sq = np.array([1e-6, 1e-4, 1e-3, 0.01, 0.2])
  mu = np.array([0.3, 0.5, 0.01, 0.93, 0.6])

  def f(mu, log_sigma_sq):
    return expectation(basis, density, mu, jnp.exp(log_sigma_sq), renormalize=renormalize)

  if renormalize and isinstance(basis, FourierBasis):
    pytest.skip('no closed form')
  jacobians = jax.vmap(jax.jacfwd(f, (0, 1)))(mu, np.log(sigma_sq))
  step = 1e-6
  differences = (
    (f(mu + step, np.log(sigma_sq)) - f(mu - step, np.log(sigma_sq))) / (2 * step),
    (f(mu, np.log(sigma_sq) + step) - f(mu, np.log(sigma_sq) - step)) / (2 * step),
  )
  for ours, theirs in zip(jacobians, differences, strict=True):
    assert relative_error(ours, np.asarray(theirs)) < 1e-6  # The accuracy of finite differences.


@pytest.mark.parametrize('density', DENSITIES, ids=['gaussian', 'sparsemax'])
def test_bin_masses_equal_quadrature(density):
  mu, sigma = PAIRS
  ours = density_lib.bin_masses(density, mu, sigma**2, num_bins=5, margin=1e-3)
  edges = [-1e-3, 0.2, 0.4, 0.6, 0.8, 1.001]
  for i, (m, s) in enumerate(zip(mu, sigma, strict=True)):
    lower, upper = support(density, m, s)
    for j in range(5):
      a, b = np.clip([edges[j], edges[j + 1]], lower, upper)
      mass = integral(lambda t, m=m, s=s: pdf(density, t, m, s), a, b, [m]) if a < b else 0
      np.testing.assert_allclose(ours[i, j], mass, atol=1e-12)


@pytest.mark.parametrize('mu_0', [0.4, -1.0])
def test_the_kl_equals_quadrature(mu_0):
  mu, sigma, sigma_0 = 0.7, 0.11, 0.23
  p, q = scipy.stats.norm(mu, sigma), scipy.stats.norm(mu_0, sigma_0)
  expected_kl, _ = scipy.integrate.quad(
    lambda t: p.pdf(t) * (p.logpdf(t) - q.logpdf(t)), mu - 12 * sigma, mu + 12 * sigma
  )
  ours = density_lib.kl_regularizer(jnp.asarray(sigma**2), sigma_0, mu=jnp.asarray(mu), mu_0=mu_0)
  np.testing.assert_allclose(ours, expected_kl, rtol=1e-9)


@pytest.mark.parametrize('basis', [BASES[0], OTHERS[0]], ids=['gaussian', 'rectangular'])
def test_moment_matching_gives_mean_and_variance_of_the_mixture(basis):
  weights_n = np.random.default_rng(0).dirichlet(np.ones(basis.num_basis), size=3)
  mu, sigma_sq = moment_match(basis, weights_n)
  for i in range(3):
    t = np.linspace(-3, 4, 400_001)
    mixture_t = evaluate_on_host(basis, t) @ weights_n[i]
    mean = np.trapezoid(t * mixture_t, t)
    rtol = 1e-9 if isinstance(basis, GaussianBasis) else 1e-4  # The quadrature is less accurate at jumps.
    np.testing.assert_allclose(mu[i], mean, rtol=rtol)
    np.testing.assert_allclose(sigma_sq[i], np.trapezoid((t - mean) ** 2 * mixture_t, t), rtol=rtol)
