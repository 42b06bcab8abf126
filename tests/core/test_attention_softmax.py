"""The weighted values of several parts, and the gradients that are written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.attention_softmax import softmax, weighted_values

B, H, L, K, SIZES, RATE = 2, 3, 5, 4, (6, 3), 0.25
RNG = np.random.default_rng(0)
SCORES = [jnp.asarray(3 * RNG.normal(size=(B, H, L, m)), jnp.float32) for m in SIZES]
VALUES = [jnp.asarray(RNG.normal(size=(B, m, H, K)), jnp.float32) for m in SIZES]
# The first query of the first row sees nothing.
OK = [jnp.asarray(RNG.random((B, 1, L, m)) < 0.7).at[0, :, 0].set(False) for m in SIZES]
KEEP = [jnp.asarray(RNG.random((B, H, L, m)) < 1 - RATE) for m in SIZES]


def plain(scores, values, keep):
  ok = jnp.broadcast_to(jnp.concatenate(OK, axis=-1), (B, H, L, sum(SIZES)))
  weights = softmax(jnp.concatenate(scores, axis=-1), ok)
  if keep is not None:
    weights = jnp.where(jnp.concatenate(keep, axis=-1), weights / (1 - RATE), 0)
  return jnp.einsum('bhlm,bmhk->blhk', weights, jnp.concatenate(values, axis=1))


@pytest.mark.parametrize('keep', [None, KEEP], ids=['all', 'dropout'])
def test_values_and_gradients_are_those_of_the_plain_formula(keep):
  rate = 0.0 if keep is None else RATE

  def ours(scores, values):
    return weighted_values(rate, scores, values, OK, keep)

  found, found_vjp = jax.vjp(ours, SCORES, VALUES)
  expected, expected_vjp = jax.vjp(lambda *args: plain(*args, keep), SCORES, VALUES)
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
  np.testing.assert_array_equal(found[0, 0], 0)
  g = jnp.asarray(RNG.normal(size=found.shape), jnp.float32)
  for mine, plains in zip(jax.tree.leaves(found_vjp(g)), jax.tree.leaves(expected_vjp(g)), strict=True):
    assert np.abs(plains).max() > 0.1
    np.testing.assert_allclose(mine, plains, rtol=0, atol=3e-6)
