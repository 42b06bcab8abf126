"""Reads, compared with the published order of operations, which computes keys and scores."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import basis, density, located, read
from infformer_jax.core.basis_families import GaussianBasis
from tests.golden import TOLERANCE
from tests.golden.report import relative_error

BASIS = GaussianBasis(num_basis=12, widths=(0.75,))
RNG = np.random.default_rng(0)
B, W_K, W_V = RNG.normal(size=(2, 12, 6)), RNG.normal(size=(6, 3, 4)), RNG.normal(size=(6, 3, 4))
W_MU, W_SIGMA, Q = RNG.normal(size=12), RNG.normal(size=12), RNG.normal(size=(2, 5, 3, 4))


DENSITIES = {'gaussian': density.GaussianDensity(), 'sparsemax': density.SparsemaxDensity()}


def naive(spec):
  """Computes K, V and all scores, one einsum after another."""
  keys, values = np.einsum('bnd,dhk->bnhk', B, W_K), np.einsum('bnd,dhk->bnhk', B, W_V)
  scores = np.einsum('blhk,bnhk->bhln', Q, keys) / np.sqrt(4)
  if spec.affine:
    mu = 1 / (1 + np.exp(-(scores @ W_MU)))
    sigma_sq = np.log1p(np.exp(scores @ W_SIGMA + spec.softplus_offset))
  else:
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    mu = p @ BASIS.centres_n
    sigma_sq = p @ (BASIS.centres_n**2 + BASIS.sigmas_n**2) - mu**2
  sigma_sq = np.maximum(sigma_sq, spec.variance_floor)
  r = basis.expectation(BASIS, spec.density, mu, sigma_sq, renormalize=spec.renormalize)
  return np.einsum('bhln,bnhk->blhk', r, values), mu, sigma_sq


@pytest.mark.parametrize('affine', [True, False], ids=['affine', 'moments'])
@pytest.mark.parametrize('renormalize', [False, True], ids=['reals', 'unit'])
@pytest.mark.parametrize('name', ['gaussian', 'sparsemax'])
def test_the_read_equals_the_published_order_of_operations(name, renormalize, affine):
  spec = located.LocatedRead(
    density=DENSITIES[name], renormalize=renormalize, variance_floor=1e-3, softplus_offset=-3.0, affine=affine
  )
  prepared = read.prepare(B, W_K, W_V, *((W_MU, W_SIGMA) if affine else ()))
  answer = read.read(spec, BASIS, prepared, Q)
  place = answer.density.mu_bhlc[..., 0], answer.density.sigma_sq_bhlc[..., 0]
  for ours, theirs in zip((answer.context_blhk, *place), naive(spec), strict=True):
    assert relative_error(ours, np.asarray(theirs)) < TOLERANCE


def test_the_variance_is_not_below_its_floor():
  prepared = read.prepare(B, W_K, W_V, W_MU, -100 * np.abs(W_SIGMA))
  answer = read.read(located.LocatedRead(variance_floor=0.01, softplus_offset=-50.0), BASIS, prepared, Q)
  assert answer.density.sigma_sq_bhlc.min() == 0.01


def test_queries_can_be_read_one_by_one():
  """One preparation serves any part of the segment."""
  spec = located.LocatedRead()
  prepared = read.prepare(B, W_K, W_V, W_MU, W_SIGMA)
  whole = read.read(spec, BASIS, prepared, Q)
  for i in range(5):
    token = read.read(spec, BASIS, prepared, Q[:, i : i + 1])
    np.testing.assert_allclose(token.context_blhk, whole.context_blhk[:, i : i + 1], atol=1e-12)


def test_no_intermediate_has_keys_or_scores():
  """With affines, V is the only array of size b·n·h·k, and expectations are the only ones over n and l."""

  def run(b, q):
    return dataclasses.astuple(
      read.read(located.LocatedRead(), BASIS, read.prepare(b, W_K, W_V, W_MU, W_SIGMA), q)
    )

  text = jax.jit(run).lower(jnp.asarray(B), jnp.asarray(Q)).as_text()
  products = re.findall(r'dot_general .*-> tensor<([\dx]+)xf64>', text)
  sizes = [sorted(map(int, shape.split('x'))) for shape in products]
  assert sizes.count(sorted((2, 12, 3, 4))) == 1  # V
  assert sorted((2, 3, 5, 12)) not in sizes  # No scores.


def test_a_mixture_is_the_weighted_sum_of_the_reads_of_its_components():
  """The read of a single component is that of the paper."""
  spec = located.LocatedRead(density=density.SparsemaxDensity(), variance_floor=1e-3, softplus_offset=-3.0)
  mixture = dataclasses.replace(spec, mixture=3)
  w_mu, w_sigma, w_pi = RNG.normal(size=(3, 3, 12))
  mixed = read.read(mixture, BASIS, read.prepare(B, W_K, W_V, *w_mu, *w_sigma, *w_pi), Q)
  pairs = zip(w_mu, w_sigma, strict=True)
  parts = [read.read(spec, BASIS, read.prepare(B, W_K, W_V, *pair), Q) for pair in pairs]
  scores = np.einsum('blhk,bnhk->bhln', Q, np.einsum('bnd,dhk->bnhk', B, W_K)) / np.sqrt(4)
  weights = np.asarray(jax.nn.softmax(scores @ w_pi.T))
  context = sum(weights[..., c].swapaxes(1, 2)[..., None] * part.context_blhk for c, part in enumerate(parts))
  assert relative_error(mixed.context_blhk, np.asarray(context)) < TOLERANCE
  masses = read.masses(mixture, BASIS, mixed.density, np.ones((2, 5), bool), num_bins=7)
  alone = 0.0
  for c, part in enumerate(parts):
    place = part.density.mu_bhlc[..., 0], part.density.sigma_sq_bhlc[..., 0]
    alone += (weights[..., c, None] * density.bin_masses(spec.density, *place, num_bins=7)).sum(axis=2)
  assert relative_error(masses, np.asarray(alone)) < TOLERANCE
