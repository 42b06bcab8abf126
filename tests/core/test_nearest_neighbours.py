"""Nearest-neighbour search, attention over its results, and recall."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import nearest_neighbours
from infformer_jax.core.attention import normalized

B, L, M, H, K, J = 2, 3, 9, 2, 4, 5
Q = normalized(jax.random.normal(jax.random.key(0), (B, L, H, K)))
KEYS = normalized(jax.random.normal(jax.random.key(1), (B, M, H, K)))
VALUES = jax.random.normal(jax.random.key(2), (B, M, H, K))
OK = jnp.arange(M)[None] < jnp.array([[M], [3]])


def exact_search():
  scores = np.where(np.asarray(OK)[:, None, None], np.einsum('blhk,bmhk->blhm', Q, KEYS), -np.inf)
  return np.argsort(-scores, axis=-1)[..., :J]


class SearchTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_the_search_finds_the_nearest_stored_keys(self):
    found = self.variant(lambda q, k, ok: nearest_neighbours.search(q, k, ok, J))(Q, KEYS, OK)
    np.testing.assert_array_equal(found[0], exact_search()[0])
    np.testing.assert_array_equal(np.sort(found[1][..., :3]), np.broadcast_to(np.arange(3), (L, H, 3)))


@pytest.mark.parametrize('tile_scores', [1, 3 * B * 150, 2**23])
def test_the_search_of_any_number_of_queries_at_a_time_finds_the_same_slots(monkeypatch, tile_scores):
  """All slots are found, in the order of their scores, also if there are more than fit into whole columns."""
  slots = 150
  keys = normalized(jax.random.normal(jax.random.key(3), (B, slots, H, K)))
  ok = jnp.arange(slots)[None] < jnp.array([[slots], [100]])
  monkeypatch.setattr(nearest_neighbours, 'TILE_SCORES', tile_scores)
  found = np.asarray(nearest_neighbours.search(jnp.tile(Q, (1, 3, 1, 1))[:, :7], keys, ok, slots))
  np.testing.assert_array_equal(np.sort(found), np.broadcast_to(np.arange(slots), found.shape))
  scores = np.einsum('blhk,bmhk->blhm', np.tile(Q, (1, 3, 1, 1))[:, :7], keys)
  assert (np.diff(np.take_along_axis(scores, found, -1)[0]) < 1e-6).all()
  assert (np.diff(np.take_along_axis(scores, found, -1)[1, ..., :100]) < 1e-6).all()
  assert (found[1, ..., :100] < 100).all()


def test_slots_with_equal_keys_are_found_once_each():
  found = nearest_neighbours.search(Q, jnp.tile(KEYS[:, :3], (1, 3, 1, 1)), jnp.ones((B, M), bool), 3)
  best = np.einsum('blhk,bmhk->blhm', Q, KEYS[:, :3]).argmax(axis=-1)
  np.testing.assert_array_equal(np.sort(found), best[..., None] + np.array([0, 3, 6]))


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_attention_over_the_results_is_a_softmax(dtype):
  index_blhj = jnp.asarray(exact_search())
  k_blhjk = nearest_neighbours.retrieve(KEYS, index_blhj)
  v_blhjk = nearest_neighbours.retrieve(VALUES, index_blhj)
  ok_blhj = jnp.broadcast_to(jnp.array([True, True, True, False, False]), index_blhj.shape)
  scale_h = jnp.array([2.0, -3.0])
  weights = np.exp(np.abs(scale_h)[:, None] * np.einsum('blhk,blhjk->blhj', Q, k_blhjk)) * np.asarray(ok_blhj)
  expected = np.einsum('blhj,blhjk->blhk', weights / weights.sum(-1, keepdims=True), v_blhjk)
  inputs = [a.astype(dtype) for a in (Q, k_blhjk, v_blhjk)]
  actual = nearest_neighbours.attend(*inputs, ok_blhj, scale_h[None])
  assert actual.dtype == dtype
  np.testing.assert_allclose(
    actual.astype(jnp.float32), expected, atol=1e-5 if dtype == jnp.float32 else 0.05
  )
  nothing = nearest_neighbours.attend(*inputs, jnp.zeros_like(ok_blhj), scale_h[None])
  np.testing.assert_array_equal(nothing, 0)


def test_recall_is_the_fraction_of_the_nearest_keys_that_was_found():
  nearest = jnp.array([[[[0, 1, 2, 3]]]])
  found = jnp.array([[[[3, 1, 7, 8]]]])
  ok = jnp.array([[[[True, True, False, True]]]])
  np.testing.assert_allclose(nearest_neighbours.recall(found, nearest, ok), 2 / 3, rtol=1e-6)
  np.testing.assert_array_equal(nearest_neighbours.recall(found, nearest, jnp.zeros_like(ok)), 0)


def test_heads_that_share_keys_get_the_results_of_repeated_keys():
  q_blhk = jnp.concatenate([Q, -Q[:, :, ::-1]], axis=2)
  repeated_bmhk = jnp.repeat(KEYS, 2, axis=2)
  index_blhj = nearest_neighbours.search(q_blhk, KEYS, OK, J)
  np.testing.assert_array_equal(index_blhj, nearest_neighbours.search(q_blhk, repeated_bmhk, OK, J))
  found_blhjk = nearest_neighbours.retrieve(KEYS, index_blhj)
  np.testing.assert_array_equal(found_blhjk, nearest_neighbours.retrieve(repeated_bmhk, index_blhj))


def test_more_neighbours_than_slots_are_refused():
  keys, queries = jnp.ones((1, 3, 1, 2)), jnp.ones((1, 1, 1, 2))
  with pytest.raises(ValueError, match='num = 4 must be at most the number of slots, 3'):
    nearest_neighbours.search(queries, keys, jnp.ones((1, 3), bool), 4)


@pytest.mark.parametrize('platform', ['tpu', 'cuda'])
def test_accelerators_search_at_once(platform):
  shapes = (((1, 4, 2, 8), jnp.bfloat16), ((1, 64, 1, 8), jnp.bfloat16), ((1, 64), jnp.bool_))
  args = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
  traced = jax.jit(lambda *a: nearest_neighbours.search(*a, 4, approximate=True)).trace(*args)
  assert 'stablehlo.while' not in traced.lower(lowering_platforms=(platform,)).as_text()
  assert 'stablehlo.while' in traced.lower(lowering_platforms=('cpu',)).as_text()
