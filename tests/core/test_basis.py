"""Properties of the basis functions that all families share."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.basis import evaluate, evaluate_on_host, expectation, moment_match
from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.core.density import GaussianDensity, SparsemaxDensity
from infformer_jax.errors import ConfigError

BASES = [
  GaussianBasis(num_basis=8, widths=(0.5, 2.0)),
  RectangularBasis(num_basis=7),
  FourierBasis(num_basis=8),
]
TIMES = np.random.default_rng(0).uniform(size=(2, 5)).astype(np.float32)


class VariantsTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_device_and_host_functions_are_equal(self):
    for basis in BASES:
      on_device = self.variant(lambda t_bp, basis=basis: basis.functions(t_bp, jnp))(jnp.asarray(TIMES))
      on_host = np.stack([evaluate_on_host(basis, t_p.astype(np.float64)) for t_p in TIMES])
      np.testing.assert_allclose(on_device, on_host, rtol=1e-4, atol=1e-4)

  @chex.variants(with_jit=True, without_jit=True)
  def test_expectations_under_a_narrow_density_equal_the_functions_at_its_mean(self):
    mu, sigma_sq = jnp.array([0.3, 0.52]), jnp.array([1e-7, 1e-7])
    for basis in BASES:
      for density in (GaussianDensity(), SparsemaxDensity()):
        expected = self.variant(
          lambda m, s, basis=basis, density=density: basis.expected(density, m, s, renormalize=False)
        )
        chex.assert_trees_all_close(expected(mu, sigma_sq), evaluate(basis, mu), atol=1e-2)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('basis', BASES, ids=str)
def test_values_have_the_dtype_of_the_times(basis, dtype):
  psi_bpn = evaluate(basis, jnp.asarray(TIMES, dtype))
  chex.assert_shape(psi_bpn, (2, 5, basis.num_basis))
  assert psi_bpn.dtype == dtype
  mu = jnp.full((3,), 0.4, dtype)
  assert expectation(basis, GaussianDensity(), mu, mu**2).dtype == dtype


def test_the_moments_of_a_single_function_are_those_of_its_density():
  basis = GaussianBasis(num_basis=5)
  mu, sigma_sq = moment_match(basis, jnp.eye(5))
  np.testing.assert_allclose(mu, basis.centres_n, atol=1e-6)
  np.testing.assert_allclose(sigma_sq, basis.sigmas_n**2, rtol=1e-5)
  with pytest.raises(ConfigError, match="basis = 'fourier' has no centres"):
    moment_match(FourierBasis(num_basis=5), jnp.eye(5))


def test_spacing_and_finest_detail_match_the_basis():
  assert GaussianBasis(num_basis=9).spacing == 1 / 8
  assert GaussianBasis(num_basis=8, widths=(0.5, 2.0)).finest == 0.5 / 8
  for basis in BASES[1:]:
    assert basis.spacing == basis.finest == 1 / basis.num_basis
  assert [basis.localized for basis in BASES] == [True, True, False]
