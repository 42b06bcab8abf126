"""Gibbs densities in float32; tests/x64/core/test_gibbs.py tests them against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.core.gibbs import GibbsRead, bin_shares, functions_at_nodes
from infformer_jax.errors import ConfigError


def test_equal_scores_give_the_weights_of_the_quadrature():
  for basis in (GaussianBasis(num_basis=6), RectangularBasis(num_basis=6), FourierBasis(num_basis=6)):
    weights_p = basis.quadrature().weights_p
    density = GibbsRead().locate(basis, jnp.zeros((1, 2, 3, len(weights_p))))
    expected = np.broadcast_to(weights_p, density.weight_bhlp.shape)
    np.testing.assert_allclose(density.weight_bhlp, expected, rtol=1e-5)


def test_only_real_queries_contribute_masses():
  basis, spec = GaussianBasis(num_basis=6), GibbsRead(gibbs_grid=9)
  density = spec.locate(basis, jax.random.normal(jax.random.key(0), (2, 3, 4, 9)))
  ok_bl = jnp.array([[True, False, True, False], [False] * 4])
  masses_bhj = spec.masses(basis, density, ok_bl, num_bins=5, margin=0.0)
  np.testing.assert_allclose(masses_bhj.sum(axis=-1), [[2] * 3, [0] * 3], rtol=1e-5)


def test_nodes_before_the_start_have_no_mass_and_the_others_keep_their_proportions():
  basis, spec = GaussianBasis(num_basis=6), GibbsRead(gibbs_grid=11)
  scores_bhlp = jax.random.normal(jax.random.key(0), (3, 2, 4, 11))
  whole = spec.locate(basis, scores_bhlp).weight_bhlp
  weight_bhlp = spec.locate(basis, scores_bhlp, jnp.array([0.0, 0.45, 0.95])).weight_bhlp
  for weight_hlp, whole_hlp, first in zip(weight_bhlp, whole, (0, 5, 10), strict=True):
    np.testing.assert_array_equal(weight_hlp[..., :first], 0)
    expected_hlp = whole_hlp[..., first:] / whole_hlp[..., first:].sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weight_hlp[..., first:], expected_hlp, rtol=1e-5)


def test_constants_are_computed_once_and_are_read_only():
  basis = GaussianBasis(num_basis=6)
  assert functions_at_nodes(basis, None) is functions_at_nodes(GaussianBasis(num_basis=6), None)
  for array in (functions_at_nodes(basis, None), bin_shares(basis, None, 4)):
    with pytest.raises(ValueError, match='read-only'):
      array[0] = 1


def test_invalid_grids_are_rejected():
  with pytest.raises(ConfigError, match=r'gibbs_grid = 1 must be in \[2, '):
    GibbsRead(gibbs_grid=1).check(GaussianBasis(num_basis=6))
  with pytest.raises(ConfigError, match="gibbs_grid = 9 must be None with basis = 'rectangular'"):
    GibbsRead(gibbs_grid=9).check(RectangularBasis(num_basis=6))
