"""Keys and values that are stored one by one."""

import jax.numpy as jnp
import numpy as np

from infformer_jax.nn.key_values import KeyValues
from tests import toy

B, M, H, K = 3, 5, 2, 4


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), toy.DTYPE)


def test_what_is_stored_is_read_unchanged():
  k_bmhk, v_bmhk = normal(0, B, M, H, K), normal(1, B, M, H, K)
  for stored, given in zip(KeyValues.of(k_bmhk, v_bmhk).by_row(B), (k_bmhk, v_bmhk), strict=True):
    np.testing.assert_array_equal(stored, given)


def test_every_row_gets_its_entry_at_its_own_place():
  all_bmhk, one_b1hk, place_b = normal(0, 2, B, M, H, K), normal(1, 2, B, 1, H, K), np.array([4, 0, 2])
  put = KeyValues.of(*all_bmhk).put(KeyValues.of(*one_b1hk), jnp.asarray(place_b)).by_row(B)
  for found, before, one in zip(put, all_bmhk, one_b1hk, strict=True):
    expected = np.array(before)
    expected[np.arange(B), place_b] = one[:, 0]
    np.testing.assert_array_equal(found, expected)
