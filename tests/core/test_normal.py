"""Densities and interval masses of the normal distribution."""

import jax.numpy as jnp
import numpy as np
import scipy.stats

from infformer_jax.core.normal import interval_mass, normal_pdf, standard_pdf


def test_the_density_is_correct_on_host_and_device():
  x, variance = np.linspace(-2, 2, 9), np.full(9, 0.3)
  expected = scipy.stats.norm.pdf(x, 0, 0.3**0.5)
  np.testing.assert_allclose(normal_pdf(x, variance, np), expected, rtol=1e-14)
  on_device = normal_pdf(jnp.asarray(x, jnp.float32), jnp.asarray(variance, jnp.float32), jnp)
  np.testing.assert_allclose(on_device, expected, rtol=1e-5)
  np.testing.assert_allclose(standard_pdf(jnp.float32(1)), scipy.stats.norm.pdf(1), rtol=1e-6)


def test_masses_have_small_relative_errors_in_both_tails_and_in_narrow_intervals():
  lower = np.array([-9.0, -1.0, 5.0, 8.0, 2.0])
  upper = np.array([-8.0, 2.0, 6.0, 8.5, 2.0001])
  flip = np.where(lower > 0, -1, 1)  # SciPy's CDF is accurate in the lower tail only.
  expected = np.abs(scipy.stats.norm.cdf(flip * upper) - scipy.stats.norm.cdf(flip * lower))
  actual = interval_mass(jnp.asarray(lower, jnp.float32), jnp.asarray(upper, jnp.float32))
  np.testing.assert_allclose(actual, expected, rtol=2e-3)
