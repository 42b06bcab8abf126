"""Positions of tokens in a continuous memory, compared with a memory that stores a list of samples."""

import numpy as np
import pytest

from infformer_jax.core import sticky
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.signal_spec import SignalSpec
from infformer_jax.evaluation import token_spans

P, L, J = 4096, 8, 16


def spec(contraction=0.75):
  return SignalSpec(
    basis=GaussianBasis(num_basis=8, widths=(0.75,)),
    segment_length=L,
    num_samples=P,
    contraction=contraction,
    ridge=0.5,
  )


def points(sampling, writes):
  histogram_wj = np.random.default_rng(0).random((writes, J)).astype(np.float32) ** 4
  if sampling == 'even':
    return [None] * writes
  drawn = sticky.left_edge_points if sampling == 'edges' else sticky.points
  return list(np.asarray(drawn(histogram_wj, P)))


def samples(spec, points_wp):
  """The token at each of many times after each write, sampled from the result of the previous write."""
  grid = (np.arange(20_000) + 0.5) / 20_000
  token_g = np.floor(grid * L).astype(int)
  yield grid, token_g
  for writes, points_p in enumerate(points_wp[1:], start=1):
    tau = spec.axis.moved(1.0, writes)
    points_p = np.arange(1, P + 1) / P if points_p is None else points_p
    old_p = token_g[np.minimum((points_p * len(grid)).astype(int), len(grid) - 1)]
    past_g = old_p[np.minimum((grid / tau * P).astype(int), P - 1)]
    new_g = np.floor((grid - tau) / (1 - tau) * L).astype(int) + L * writes
    token_g = np.where(grid < tau, past_g, new_g)
    yield grid, token_g


@pytest.mark.parametrize('sampling', ['even', 'sticky', 'edges'])
@pytest.mark.parametrize('contraction', [0.75, 'equal'])
def test_shares_and_tokens_equal_those_of_a_list_of_samples(sampling, contraction):
  points_wp = points(sampling, 5)
  edges_w = token_spans.edges(spec(contraction), points_wp)
  pairs = zip(edges_w, samples(spec(contraction), points_wp), strict=True)
  for write, (edges_e, (grid, token_g)) in enumerate(pairs):
    assert len(edges_e) == L * (write + 1) + 1
    assert (edges_e[0], edges_e[-1]) == (0, pytest.approx(1))
    assert (np.diff(edges_e) >= 0).all()
    if sampling == 'edges' and write:
      continue  # A bin repeats one sample here, so that only whole bins can agree.
    share_t = np.bincount(token_g, minlength=len(edges_e) - 1) / len(grid)
    np.testing.assert_allclose(np.diff(edges_e), share_t, atol=3e-3)
    assert (token_spans.token_at(edges_e, grid) == token_g).mean() > 0.98


def test_with_equal_contraction_and_even_samples_all_tokens_have_equal_shares():
  edges_e = token_spans.edges(spec('equal'), [None] * 6)[-1]
  np.testing.assert_allclose(np.diff(edges_e), 1 / (6 * L), rtol=1e-9)


def test_tokens_that_are_read_are_kept():
  """If all samples come from the newest quarter, the other tokens have no share after the write."""
  points_p = 0.75 + 0.25 * np.arange(1, P + 1) / P
  first, second = token_spans.edges(spec(), [None, points_p])
  np.testing.assert_allclose(np.diff(second)[:6], 0, atol=1e-3)
  assert np.diff(second)[6:8].sum() == pytest.approx(0.75, abs=1e-3)
  assert token_spans.token_at(first, np.array([-1.0, 0.0, 0.99, 1.0, 2.0])).tolist() == [
    0,
    0,
    L - 1,
    L - 1,
    L - 1,
  ]
