"""The Gaussian, rectangular and Fourier families of basis functions."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from infformer_jax.core.basis import evaluate, evaluate_on_host
from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.errors import ConfigError

PUBLISHED = GaussianBasis(num_basis=6, widths=(0.005, 0.01), width_unit='absolute')


def test_every_centre_has_one_function_per_width_and_widths_vary_fastest():
  np.testing.assert_array_equal(PUBLISHED.centres_n, [0, 0, 0.5, 0.5, 1, 1])
  np.testing.assert_array_equal(PUBLISHED.sigmas_n, [0.005, 0.01] * 3)


def test_widths_in_units_of_the_spacing_shrink_as_num_basis_grows():
  np.testing.assert_allclose(GaussianBasis(num_basis=64, widths=(0.75,)).sigmas_n, 0.75 / 64, rtol=1e-15)


def test_gaussian_values_are_normal_densities_on_device_and_host():
  basis = GaussianBasis(num_basis=8, widths=(0.5, 2.0))
  t_p = np.linspace(-0.2, 1.2, 15)
  expected_pn = scipy.stats.norm.pdf(t_p[:, None], basis.centres_n, basis.sigmas_n)
  np.testing.assert_allclose(evaluate_on_host(basis, t_p), expected_pn, rtol=1e-13)
  np.testing.assert_allclose(
    evaluate(basis, jnp.asarray(t_p, jnp.float32)), expected_pn, rtol=1e-5, atol=1e-5 * expected_pn.max()
  )


def test_narrow_widths_do_not_amplify_the_rounding_error_of_the_centres():
  basis = GaussianBasis(num_basis=64, widths=(1e-3,), width_unit='absolute')
  t_p = np.arange(256) / 256  # Exact in float32; the centres, multiples of 1/63, are not.
  expected_pn = evaluate_on_host(basis, t_p)
  error = np.abs(evaluate(basis, t_p.astype(np.float32)) - expected_pn).max() / expected_pn.max()
  assert error < 2e-6  # 2e-5 if the centres are rounded to float32 once.


def test_a_basis_is_hashable_and_its_constants_are_read_only():
  again = GaussianBasis(num_basis=6, widths=(0.005, 0.01), width_unit='absolute')
  assert again == PUBLISHED
  assert hash(again) == hash(PUBLISHED)
  assert again.centres_n is PUBLISHED.centres_n
  with pytest.raises(ValueError, match='read-only'):
    PUBLISHED.centres_n[0] = 1


OTHERS = [family(num_basis=n) for family in (RectangularBasis, FourierBasis) for n in (6, 7)]


@pytest.mark.parametrize('basis', OTHERS, ids=str)
def test_rectangular_and_fourier_functions_are_orthogonal_with_squared_norm_num_basis(basis):
  t_p = (np.arange(10_000) + 0.5) / 10_000
  psi_pn = evaluate_on_host(basis, t_p)
  size = basis.num_basis
  np.testing.assert_allclose(psi_pn.T @ psi_pn / len(t_p), size * np.eye(size), atol=1e-2)
  np.testing.assert_allclose(evaluate(basis, t_p.astype(np.float32)), psi_pn, atol=1e-4)


def test_an_edge_belongs_to_the_cell_that_ends_there_despite_rounding():
  for size in (7, 49, 100, 512):
    basis = RectangularBasis(num_basis=size)
    for tau in (1.0, 0.75, 2 / 3):
      edges = tau * np.arange(1, size + 1) / size / tau  # Some differ from the exact edge by one ulp.
      for psi_pn in (evaluate_on_host(basis, edges), evaluate(basis, edges.astype(np.float32))):
        np.testing.assert_array_equal(psi_pn, size * np.eye(size))
    np.testing.assert_array_equal(evaluate(basis, np.float32([-0.1, 0, 1.1])).sum(axis=1), [0, size, 0])


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (
      {'num_basis': 511, 'widths': (0.005, 0.01)},
      'num_basis = 511 .* 2 widths .*use 510 or 512, or give one width',
    ),
    ({'num_basis': 1, 'widths': (0.005, 0.01)}, 'num_basis = 1 .*use 2, or give one width'),
    ({'num_basis': 0, 'widths': (1.0,)}, r'num_basis = 0 must be in \[1, '),
    ({'num_basis': 8, 'widths': ()}, 'positive widths'),
    ({'num_basis': 8, 'widths': (0.5, -1.0)}, 'positive widths'),
  ],
)
def test_invalid_settings_are_rejected(settings, message):
  with pytest.raises(ConfigError, match=message):
    GaussianBasis(**settings)
