"""Densities in float32; their formulas are tested against quadrature in tests/x64/core/test_density.py."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import density as density_lib
from infformer_jax.core.basis import expectation
from infformer_jax.core.basis_families import GaussianBasis, RectangularBasis
from tests.golden import TOLERANCE_FLOAT32
from tests.golden.report import relative_error

FILES = {'gaussian': 'continuous_softmax.npz', 'sparsemax': 'continuous_sparsemax.npz'}
DENSITIES = {'gaussian': density_lib.GaussianDensity(), 'sparsemax': density_lib.SparsemaxDensity()}
WIDTHS = {'gauss_official': (0.005, 0.01), 'gauss_sorting': (0.01, 0.05), 'gauss_wide': (0.1, 0.5)}


@pytest.mark.parametrize('density', DENSITIES)
@pytest.mark.parametrize('tag', WIDTHS)
def test_float32_expectations_equal_the_published_float64(density, tag):
  with np.load(pathlib.Path(__file__).parents[1] / 'golden' / FILES[density]) as arrays:
    mu, sigma_sq, r = (arrays[f'{tag}/{name}'] for name in ('mu', 'sigma_sq', 'r'))
  basis = GaussianBasis(num_basis=r.shape[1], widths=WIDTHS[tag], width_unit='absolute')
  ours = expectation(basis, DENSITIES[density], mu.astype(np.float32), sigma_sq.astype(np.float32))
  assert relative_error(ours, r) < TOLERANCE_FLOAT32


@pytest.mark.parametrize('density', DENSITIES)
@pytest.mark.parametrize('renormalize', [False, True])
def test_values_and_gradients_stay_finite_at_the_extremes(density, renormalize):
  mu, sigma_sq = map(jnp.ravel, jnp.meshgrid(jnp.linspace(0, 1, 5), 10.0 ** jnp.arange(-10.0, 4.0)))
  for basis in (
    GaussianBasis(num_basis=1024, widths=(0.75,)),
    GaussianBasis(num_basis=4, widths=(0.1, 2.0), width_unit='absolute'),
  ):

    def total(mu, sigma_sq, basis=basis):
      return expectation(basis, DENSITIES[density], mu, sigma_sq, renormalize=renormalize).sum()

    value, gradients = jax.value_and_grad(total, (0, 1))(mu, sigma_sq)
    assert np.isfinite([value, *map(jnp.sum, gradients)]).all()


@pytest.mark.parametrize('density', DENSITIES)
@pytest.mark.parametrize('start', [0.0, 0.5, 0.999])
def test_values_and_gradients_in_a_span_stay_finite_at_the_extremes(density, start):
  """With μ at both ends of the span and σ down to the floor of a read, half a spacing."""
  place, sigma = map(jnp.ravel, jnp.meshgrid(jnp.linspace(0, 1, 5), 10.0 ** jnp.arange(-4.0, 2.0)))
  mu, sigma_sq = start + (1 - start) * place, jnp.maximum(sigma * (1 - start), 0.5 / 1023) ** 2
  for basis in (GaussianBasis(num_basis=1024, widths=(0.75,)), RectangularBasis(num_basis=1024)):

    def total(mu, sigma_sq, start, basis=basis):
      return (expectation(basis, DENSITIES[density], mu, sigma_sq, renormalize=True, start=start) ** 2).sum()

    value, gradients = jax.value_and_grad(total, (0, 1, 2))(mu, sigma_sq, jnp.full(mu.shape, start))
    assert np.isfinite([value, *map(jnp.sum, gradients)]).all()


def test_the_published_kl_has_a_gradient_for_the_mean_and_ours_does_not():
  sigma_sq, mu = jnp.float32(0.3), jnp.float32(0.4)
  plain = density_lib.kl_regularizer(sigma_sq, 0.5, mu=mu)
  published = density_lib.kl_regularizer(sigma_sq, 0.5, mu=mu, mu_0=-1.0)
  np.testing.assert_allclose(published - plain, 1.4**2 / 0.5, rtol=1e-6)
