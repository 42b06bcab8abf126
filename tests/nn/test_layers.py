"""Dropout with explicit keys, and the numbers that are folded into keys."""

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.nn.layers import KeyUse, dropout, fold_in

KEY = jax.random.key(7)


def test_dropout_preserves_the_mean_and_requires_a_key():
  x_bsld, keys_bs = jnp.ones((4, 5, 50, 40)), jax.random.split(KEY, (4, 5))
  dropped = np.asarray(dropout(x_bsld, keys_bs, 0.25))
  assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
  assert abs(dropped.mean() - 1) < 5 * np.sqrt(0.25 / 0.75 / dropped.size)
  assert (dropped != np.asarray(dropout(x_bsld, fold_in(keys_bs, 1), 0.25))).any()
  assert dropout(x_bsld, fold_in(None, 0), 0.25) is x_bsld


def test_the_numbers_folded_into_keys_are_distinct_and_fixed():
  """Another number would change the random draws of existing runs."""
  assert [use.value for use in KeyUse] == [0, 1, 2, 3, 4]
