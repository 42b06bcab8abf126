"""Sample points of sticky memories, and histograms of densities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import read, sticky
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.density import SparsemaxDensity
from infformer_jax.core.gibbs import GibbsRead
from infformer_jax.core.located import LocatedRead
from infformer_jax.core.signal_spec import even_points

PEAKS = np.array([[0, 0, 9, 1, 0, 0, 0, 5], [1, 2, 3, 4, 5, 6, 7, 8]], np.float32)
KEYS = jax.random.split(jax.random.key(0), 2)


@pytest.mark.parametrize('mass', [0.0, 1.0, 0.1, 1e-7, 12345.678])
@pytest.mark.parametrize(('num_bins', 'num_points'), [(128, 512), (100, 300), (7, 13)])
def test_a_uniform_or_empty_histogram_gives_exactly_the_even_points(mass, num_bins, num_points):
  points_bp = sticky.points(jnp.full((3, num_bins), mass, jnp.float32), num_points)
  np.testing.assert_array_equal(points_bp, np.tile(even_points(num_points).astype(np.float32), (3, 1)))


def test_the_points_are_quantiles_of_the_mixture_with_the_uniform_density():
  points_bp = np.asarray(sticky.points(PEAKS, 40))
  assert (np.diff(points_bp) > 0).all()
  np.testing.assert_array_equal(points_bp[:, -1], 1.0)
  for histogram_j, points_p in zip(PEAKS, points_bp, strict=True):
    masses_j = 0.99 * histogram_j / histogram_j.sum() + 0.01 / 8
    cumulative = np.concatenate([[0], np.cumsum(masses_j)])
    np.testing.assert_allclose(np.interp(points_p, np.arange(9) / 8, cumulative), even_points(40), atol=1e-6)


def test_a_change_of_one_ulp_does_not_move_a_point_across_a_plateau():
  two_peaks = jnp.zeros((1, 128)).at[0, jnp.array([30, 90])].set(1.0)
  nudged = two_peaks.at[0, 30].multiply(1 + 2e-7)
  moved = np.abs(sticky.points(two_peaks, 64) - sticky.points(nudged, 64)).max()
  assert moved < 1e-4


def test_random_points_are_sorted_and_belong_to_their_row():
  both = np.asarray(sticky.points(PEAKS, 200, key_b=KEYS))
  assert (np.diff(both) >= 0).all()
  assert ((both >= 0) & (both <= 1)).all()
  alone = sticky.points(PEAKS[1:], 200, key_b=KEYS[1:])
  np.testing.assert_array_equal(both[1:], alone)
  share = ((both[0] > 2 / 8) & (both[0] < 3 / 8)).mean()  # 9/15 of the mass.
  assert abs(share - 0.6) < 0.1


STARTS = jnp.array([0.0, 0.3, 0.71], jnp.float32)


@pytest.mark.parametrize('mass', [0.0, 0.1, 12345.678])
@pytest.mark.parametrize(('num_bins', 'num_points'), [(128, 512), (7, 13)])
def test_a_uniform_or_empty_histogram_gives_exactly_the_even_points_for_every_start(
  mass, num_bins, num_points
):
  histogram_bj = jnp.full((3, num_bins), mass, jnp.float32)
  points_bp = sticky.points(histogram_bj, num_points, start_b=STARTS)
  np.testing.assert_array_equal(points_bp, np.tile(even_points(num_points).astype(np.float32), (3, 1)))


@pytest.mark.parametrize('key_b', [None, jax.random.split(jax.random.key(0), 3)], ids=['quantiles', 'random'])
def test_a_start_keeps_the_points_before_it_and_the_others_follow_the_histogram_after_it(key_b):
  histogram_bj = jnp.asarray(np.random.default_rng(0).exponential(size=(3, 16)) ** 3, jnp.float32)
  u_bp = np.asarray(sticky.points(jnp.ones((3, 16)), 400, key_b=key_b))  # What the draws are quantiles of.
  points_bp = np.asarray(sticky.points(histogram_bj, 400, key_b=key_b, start_b=STARTS))
  assert (np.diff(points_bp) >= 0).all()
  for u_p, points_p, start, histogram_j in zip(u_bp, points_bp, STARTS, histogram_bj, strict=True):
    before_p = u_p < start
    np.testing.assert_array_equal(points_p[before_p], u_p[before_p])
    assert points_p[~before_p].min() >= start
    masses_j = 0.99 * histogram_j / histogram_j.sum() + 0.01 / 16
    cumulative = functools.partial(np.interp, xp=np.arange(17) / 16, fp=np.append(0, np.cumsum(masses_j)))
    share_p = (cumulative(points_p[~before_p]) - cumulative(start)) / (1 - cumulative(start))
    np.testing.assert_allclose(share_p, (u_p[~before_p] - start) / (1 - start), atol=2e-5)
  if key_b is None:
    np.testing.assert_array_equal(points_bp[:, -1], 1)


def test_published_points_are_left_edges_drawn_in_proportion_to_the_mass():
  points_bp = np.asarray(sticky.left_edge_points(PEAKS, 400, key_b=KEYS))
  assert (np.diff(points_bp) >= 0).all()
  assert set(points_bp[0]) == {2 / 8, 3 / 8, 7 / 8}
  assert abs((points_bp[0] == 2 / 8).mean() - 0.6) < 0.1
  stratified = np.asarray(sticky.left_edge_points(PEAKS, 15))
  np.testing.assert_array_equal(stratified[0], [2 / 8] * 9 + [3 / 8] + [7 / 8] * 5)


def test_without_mass_all_edges_are_equally_likely():
  points_bp = np.asarray(sticky.left_edge_points(jnp.zeros((2, 8)), 400, key_b=KEYS))
  assert len(set(points_bp[0])) == 8


BASIS = GaussianBasis(num_basis=16)
SPECS = [
  LocatedRead(variance_floor=1e-4, softplus_offset=-9.0, mixture=3),
  LocatedRead(density=SparsemaxDensity(), variance_floor=1e-4, softplus_offset=-9.0, renormalize=True),
  GibbsRead(gibbs_grid=33),
]


def density_of(spec, q_blhk):
  """The density that queries compute from random keys."""
  count, nodes = (33, 33) if isinstance(spec, GibbsRead) else (spec.num_affines, 16)
  keys_bmhk = jax.random.normal(jax.random.key(2), (len(q_blhk), count, 3, 4))
  prepared = read.Prepared(keys_bmhk=keys_bmhk, values_bhnk=jnp.ones((len(q_blhk), 3, nodes, 4)))
  return read.read(spec, BASIS, prepared, q_blhk).density


@pytest.mark.parametrize('spec', SPECS, ids=['mixture', 'renormalized', 'gibbs'])
def test_the_histogram_counts_only_real_queries(spec):
  density = density_of(spec, jax.random.normal(jax.random.key(1), (2, 4, 3, 4)))
  ok_bl = jnp.array([[True, True, False, False], [False] * 4])
  ours = read.masses(spec, BASIS, density, ok_bl, num_bins=16)
  assert ours.shape == (2, 3, 16)
  # Near the ends a little mass lies outside, unless the density is restricted to [0, 1].
  inside = isinstance(spec, GibbsRead) or spec.renormalize
  np.testing.assert_allclose(ours[0].sum(axis=1), 2, atol=1e-5 if inside else 0.4)
  np.testing.assert_array_equal(ours[1], 0)
  tokens = [(jax.tree.map(lambda a, i=i: a[:, :, i : i + 1], density), ok_bl[:, i : i + 1]) for i in range(4)]
  parts = [read.masses(spec, BASIS, *token, num_bins=16) for token in tokens]
  np.testing.assert_allclose(sum(parts), ours, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('spec', SPECS, ids=['mixture', 'renormalized', 'gibbs'])
def test_statistics_and_points_carry_no_gradient(spec):
  def through_both(q_blhk):
    masses_bhj = read.masses(spec, BASIS, density_of(spec, q_blhk), jnp.ones((1, 4), bool), num_bins=8)
    return sticky.points(masses_bhj.sum(axis=1), 5).sum() + masses_bhj.sum()

  np.testing.assert_array_equal(jax.grad(through_both)(jax.random.normal(jax.random.key(1), (1, 4, 3, 4))), 0)
  np.testing.assert_array_equal(jax.grad(lambda h: sticky.points(h, 5).sum())(PEAKS), 0)
