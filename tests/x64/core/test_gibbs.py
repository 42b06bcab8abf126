"""Gibbs densities, tested against quadrature and, for rectangular cells, against a softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import gibbs, read
from infformer_jax.core.basis import evaluate_on_host
from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.errors import ConfigError
from tests.golden import TOLERANCE

RNG = np.random.default_rng(0)
D, H, K, L = 5, 2, 3, 4
W_K, W_V, Q = RNG.normal(size=(D, H, K)), RNG.normal(size=(D, H, K)), RNG.normal(size=(1, L, H, K))
BASES = {
  'gaussian': GaussianBasis(num_basis=8),
  'rectangular': RectangularBasis(num_basis=8),
  'fourier': FourierBasis(num_basis=8),
}
B_BND = RNG.normal(size=(1, 8, D)) / 8
"""A signal of values near one."""


def answer(basis, grid=None):
  spec = gibbs.GibbsRead(gibbs_grid=grid)
  prepared = read.prepare(spec.readable(basis, jnp.asarray(B_BND)), W_K, W_V)
  density = read.read(spec, basis, prepared, Q)
  ok_bl = jnp.asarray(np.arange(L)[None] == 1)  # The masses of one query.
  return density.context_blhk, read.masses(spec, basis, density.density, ok_bl, num_bins=10)


def exact(basis):
  """Context, and bin masses of query 1, by Gauss-Legendre between all edges of cells and bins."""
  edges = np.unique(np.concatenate([np.linspace(0, 1, 41), np.arange(9) / 8]))
  nodes, weights = np.polynomial.legendre.leggauss(24)
  half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
  t_p, weight_p = (middle + half * nodes).ravel(), (half * weights).ravel()
  x_pd = evaluate_on_host(basis, t_p) @ B_BND[0]
  keys_phk, values_phk = np.einsum('pd,dhk->phk', x_pd, W_K), np.einsum('pd,dhk->phk', x_pd, W_V)
  density_lhp = np.exp(np.einsum('lhk,phk->lhp', Q[0], keys_phk) / np.sqrt(K)) * weight_p
  density_lhp /= density_lhp.sum(axis=-1, keepdims=True)
  masses_hj = [density_lhp[1][:, (t_p > j / 10) & (t_p < (j + 1) / 10)].sum(axis=-1) for j in range(10)]
  return np.einsum('lhp,phk->lhk', density_lhp, values_phk)[None], np.stack(masses_hj, axis=-1)[None]


def test_for_rectangular_cells_the_read_is_a_softmax_over_the_values_of_the_signal():
  context, masses = answer(BASES['rectangular'])
  expected_context, expected_masses = exact(BASES['rectangular'])
  np.testing.assert_allclose(context, expected_context, atol=TOLERANCE)
  np.testing.assert_allclose(masses, expected_masses, atol=TOLERANCE)
  keys, values = (8 * np.einsum('nd,dhk->nhk', B_BND[0], w) for w in (W_K, W_V))
  weights = jax.nn.softmax(np.einsum('blhk,nhk->bhln', Q, keys) / np.sqrt(K))
  np.testing.assert_allclose(context, np.einsum('bhln,nhk->blhk', weights, values), atol=TOLERANCE)


@pytest.mark.parametrize('family', ['gaussian', 'fourier'])
def test_the_trapezoidal_rule_converges_to_the_integral(family):
  """The error is O(step²); with the default grid it is below .2 %, that of bin masses below 3 %."""
  expected = exact(BASES[family])

  def errors(grid):
    found = answer(BASES[family], grid)
    return np.array([np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, expected, strict=True)])

  default, fine, finer = errors(None), errors(1281), errors(2561)
  assert default[0] < 2e-3
  assert default[1] < 0.03
  assert (finer < 1e-5).all()
  if family == 'gaussian':
    np.testing.assert_allclose(fine / finer, 4, rtol=0.1)
  else:  # For periodic functions the rule converges exponentially.
    assert finer[0] < 1e-12


@pytest.mark.parametrize('basis', BASES.values(), ids=BASES)
def test_the_mass_of_every_node_is_distributed_over_bins(basis):
  np.testing.assert_allclose(gibbs.bin_shares(basis, None, 13).sum(axis=1), 1, atol=1e-12)
  assert gibbs.bin_shares(basis, None, 13).min() >= -1e-15
  np.testing.assert_allclose(basis.quadrature().weights_p.sum(), 1, atol=1e-12)


def test_invalid_grids_are_rejected():
  with pytest.raises(ConfigError, match="gibbs_grid = 9 must be None with basis = 'rectangular'"):
    gibbs.GibbsRead(gibbs_grid=9).check(BASES['rectangular'])
  with pytest.raises(ConfigError, match=r'gibbs_grid = 1 must be in \[2, '):
    gibbs.GibbsRead(gibbs_grid=1).check(BASES['gaussian'])
