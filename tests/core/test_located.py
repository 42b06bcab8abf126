"""Parameters of located densities, computed from scores."""

import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.basis_families import FourierBasis, GaussianBasis
from infformer_jax.core.located import LocatedRead
from infformer_jax.errors import ConfigError

BASIS = GaussianBasis(num_basis=8)


def test_spread_heads_and_components_are_initially_evenly_spaced():
  spec = LocatedRead(initial_mu='spread', mixture=2)
  located = spec.locate(BASIS, jnp.zeros((1, 4, 3, 6)))
  starts = np.sort(np.asarray(located.mu_bhlc[0, :, 0]).ravel())
  np.testing.assert_allclose(starts, (np.arange(8) + 0.5) / 8, atol=1e-6)
  np.testing.assert_allclose(located.weight_bhlc, 0.5)


def test_the_softplus_offset_sets_the_initial_width_and_the_floor_bounds_it():
  scores_bhlm = jnp.zeros((1, 1, 1, 2))
  offset = float(np.log(np.expm1(0.1**2)))
  located = LocatedRead(softplus_offset=offset).locate(BASIS, scores_bhlm)
  np.testing.assert_allclose(located.sigma_sq_bhlc, 0.01, rtol=1e-5)
  floored = LocatedRead(softplus_offset=offset, variance_floor=0.25).locate(BASIS, scores_bhlm)
  np.testing.assert_array_equal(floored.sigma_sq_bhlc, 0.25)


def test_the_number_of_affines_follows_from_the_spec():
  assert LocatedRead().num_affines == 2
  assert LocatedRead(mixture=3).num_affines == 9
  assert LocatedRead(affine=False).num_affines == 0


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'variance_floor': 0.0}, 'variance_floor = 0.0 must be positive'),
    ({'mixture': 0}, r'mixture = 0 must be in \[1, '),
    ({'mixture': 2, 'affine': False}, 'mixture = 2 must be 1 with affine = False'),
  ],
)
def test_invalid_settings_are_rejected(settings, message):
  with pytest.raises(ConfigError, match=message):
    LocatedRead(**settings)


@pytest.mark.parametrize('settings', [{'renormalize': True}, {'affine': False}])
def test_fourier_functions_reject_settings_that_need_renormalization_or_moments(settings):
  with pytest.raises(ConfigError, match="with basis = 'fourier'"):
    LocatedRead(**settings).check(FourierBasis(num_basis=8))
