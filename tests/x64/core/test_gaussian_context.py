"""Contexts and gradients, compared with those of the general closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import gaussian_context
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.located import Located, LocatedRead
from infformer_jax.core.read import ReadSpec

BASIS = GaussianBasis(num_basis=12, widths=(0.75,))
RNG = np.random.default_rng(0)
MU, SIGMA_SQ = RNG.uniform(size=(2, 3, 5)), 10 ** RNG.uniform(-6, 0, size=(2, 3, 5))
VALUES, G = RNG.normal(size=(2, 3, 12, 4)), RNG.normal(size=(2, 5, 3, 4))


def general(mu_bhl, sigma_sq_bhl, values_bhnk):
  density = Located(
    mu_bhlc=mu_bhl[..., None],
    sigma_sq_bhlc=sigma_sq_bhl[..., None],
    weight_bhlc=jnp.ones((*mu_bhl.shape, 1)),
  )
  return ReadSpec.context(LocatedRead(), BASIS, density, values_bhnk)


@pytest.mark.parametrize('few', [2**14, 0], ids=['at once', 'head by head'])
def test_it_equals_the_general_read_with_its_gradients(monkeypatch, few):
  monkeypatch.setattr(gaussian_context, '_FEW', few)
  expected, expected_vjp = jax.vjp(jax.jit(general), MU, SIGMA_SQ, VALUES)
  found, found_vjp = jax.vjp(jax.jit(lambda *a: gaussian_context.context(BASIS, *a)), MU, SIGMA_SQ, VALUES)
  np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
  for ours, theirs in zip(found_vjp(G), expected_vjp(G), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())
