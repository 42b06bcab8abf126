"""Token losses and masked sums."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from infformer_jax.core import losses


class LossesTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_token_losses_are_negative_log_probabilities(self):
    logits = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    targets = np.array([[0, 4, 2], [1, 1, 3]], np.int32)
    expected = -np.take_along_axis(scipy.special.log_softmax(logits, axis=-1), targets[..., None], -1)[..., 0]
    actual = self.variant(losses.token_losses)(jnp.asarray(logits), jnp.asarray(targets))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)

  @chex.variants(with_jit=True, without_jit=True)
  def test_masked_values_may_be_arbitrary(self):
    values, ok = jnp.array([1.0, np.nan, np.inf, 2.5]), jnp.array([True, False, False, True])
    total, count = self.variant(losses.masked_sum)(values, ok)
    assert (float(total), float(count)) == (3.5, 2.0)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_losses_are_float32(dtype):
  logits, ok = jnp.ones((4, 3), dtype), jnp.ones(4, bool)
  token_losses = losses.token_losses(logits, jnp.zeros(4, jnp.int32))
  assert token_losses.dtype == jnp.float32
  chex.assert_trees_all_close(losses.masked_sum(token_losses.astype(dtype), ok)[1], jnp.float32(4))
