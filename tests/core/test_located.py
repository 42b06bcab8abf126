"""Parameters of located densities, computed from scores."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.basis_families import FourierBasis, GaussianBasis
from infformer_jax.core.density import GaussianDensity, SparsemaxDensity
from infformer_jax.core.located import LocatedRead
from infformer_jax.errors import ConfigError
from tests import toy

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


START = jnp.array([0.0, 0.4, 0.9])


@pytest.mark.parametrize('settings', [{}, {'mixture': 2}])
def test_densities_move_in_the_span_of_the_document(settings):
  """μ and σ are relative to it; the variance is not less than its floor."""
  spec = LocatedRead(initial_mu='spread', variance_floor=2e-3, **settings)
  scores_bhlm = jax.random.normal(jax.random.key(0), (3, 2, 5, spec.num_affines or 8))
  axis = dataclasses.replace(spec, span='axis').locate(BASIS, scores_bhlm, START)
  located = spec.locate(BASIS, scores_bhlm, START)
  width_b111 = (1 - START)[:, None, None, None]
  np.testing.assert_allclose(located.mu_bhlc, 1 - width_b111 * (1 - axis.mu_bhlc), rtol=1e-6)
  sigma_sq = np.maximum(width_b111**2 * axis.sigma_sq_bhlc, 2e-3)
  np.testing.assert_allclose(located.sigma_sq_bhlc, sigma_sq, rtol=1e-6)
  np.testing.assert_array_equal(located.weight_bhlc, axis.weight_bhlc)
  for without in (spec.locate(BASIS, scores_bhlm), spec.locate(BASIS, scores_bhlm, jnp.zeros(3))):
    np.testing.assert_array_equal(without.mu_bhlc, axis.mu_bhlc)
    np.testing.assert_array_equal(without.sigma_sq_bhlc, axis.sigma_sq_bhlc)


def test_moments_leave_out_the_functions_before_the_document():
  scores_bhln = jax.random.normal(jax.random.key(0), (1, 1, 1, 8))
  located = LocatedRead(affine=False).locate(BASIS, scores_bhln, jnp.array([0.5]))
  kept_n = BASIS.centres_n >= 0.5
  weights_n = np.exp(np.asarray(scores_bhln, np.float64).ravel())[kept_n]
  weights_n /= weights_n.sum()
  mu = weights_n @ BASIS.centres_n[kept_n]
  variance = weights_n @ ((BASIS.centres_n[kept_n] - mu) ** 2 + BASIS.sigmas_n[kept_n] ** 2)
  np.testing.assert_allclose(located.mu_bhlc.item(), mu, rtol=1e-5)
  np.testing.assert_allclose(located.sigma_sq_bhlc.item(), variance, rtol=1e-4)


def test_parameters_in_units_of_the_span_do_not_depend_on_it():
  scores_bhlm = jax.random.normal(jax.random.key(0), (3, 2, 5, 2))
  spec = LocatedRead(variance_floor=1e-9)
  whole = spec.locate(BASIS, scores_bhlm)
  for ours, expected in zip(
    spec.locate(BASIS, scores_bhlm, START).in_span(), (whole.mu_bhlc, whole.sigma_sq_bhlc), strict=True
  ):
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize('density', [GaussianDensity(), SparsemaxDensity()])
def test_a_renormalized_density_has_all_of_its_mass_in_its_span(density):
  spec = LocatedRead(density=density, renormalize=True, initial_mu='spread')
  located = spec.locate(BASIS, jax.random.normal(jax.random.key(0), (3, 2, 5, 2)), START)
  masses_bhj = spec.masses(BASIS, located, jnp.ones((3, 5), bool), num_bins=20, margin=0.0)
  np.testing.assert_allclose(masses_bhj.sum(axis=-1), 5, rtol=1e-5)
  for masses_hj, start in zip(masses_bhj, START, strict=True):
    before = round(20 * float(start))
    np.testing.assert_allclose(masses_hj[:, :before], 0, atol=1e-6)
    assert (masses_hj[:, before:] > 1e-3).all()


@pytest.mark.parametrize('mixture', [1, 3])
def test_gradients_of_a_conditioned_read_are_finite_at_the_ends_of_the_span(mixture):
  """μ at the start or at 1, the narrowest and the widest densities, a document that has just begun."""
  spec, basis = LocatedRead(renormalize=True, mixture=mixture), GaussianBasis(num_basis=64)
  scores_m = jnp.array([-200.0, -20.0, 0.0, 20.0, 200.0])
  grid_lm = jnp.stack(jnp.meshgrid(scores_m, scores_m), axis=-1).reshape(-1, 2)
  scores_bhlm = jnp.tile(jnp.repeat(grid_lm, mixture, axis=1)[None, None], (3, 1, 1, 1))
  scores_bhlm = jnp.pad(scores_bhlm, ((0, 0), (0, 0), (0, 0), (0, spec.num_affines - 2 * mixture)))
  values_bhnk = jax.random.normal(jax.random.key(0), (3, 1, 64, 4))

  @toy.quickly
  def gradients(scores_bhlm, values_bhnk):
    def total(scores_bhlm, values_bhnk):
      return spec.context(basis, spec.locate(basis, scores_bhlm, START), values_bhnk).sum()

    return jax.value_and_grad(total, (0, 1))(scores_bhlm, values_bhnk)

  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients(scores_bhlm, values_bhnk)))


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
