"""The softmax over all parts, masked keys, grouped keys, dropout, and the choice of an implementation."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import attention
from infformer_jax.core.positions import Aged, Buckets
from tests import toy

B, L, M, H, K = 2, 3, 6, 4, 5


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), toy.DTYPE)


def close(actual, expected):
  chex.assert_trees_all_close(actual, expected, atol=toy.TOLERANCE, rtol=toy.TOLERANCE)


def test_masked_keys_and_queries_without_keys_have_zero_weights():
  scores = jnp.array([[1e4, 2.0, 1.0], [3.0, 2.0, 1.0]], toy.DTYPE)
  ok = jnp.array([[False, True, True], [False, False, False]])
  weights = attention.softmax(scores, ok)
  assert weights[0, 0] == 0
  assert weights[0, 1:].sum() == pytest.approx(1)
  assert np.array_equal(weights[1], [0, 0, 0])
  gradient = jax.grad(lambda scores: attention.softmax(scores, ok)[:, 1].sum())(scores)
  assert np.isfinite(gradient).all()
  assert not gradient[1].any()


TERMS = {
  'none': None,
  'aged': Aged(w_dhk=normal(8, 6, H, K)),
  'buckets': Buckets(table_jh=normal(8, 32, H)),
}


def queries(**changes):
  offset_bl = jnp.arange(L, dtype=toy.DTYPE)[None]
  base = attention.Queries(
    q_blhk=normal(1, B, L, H, K), offset_bl=offset_bl, position_q_blhk=normal(2, B, L, H, K)
  )
  return dataclasses.replace(base, **changes)


def part(heads=H, **changes):
  """Keys older and newer than the queries, some of them masked."""
  base = attention.Part(
    k_bmhk=normal(3, B, M, heads, K),
    v_bmhk=normal(4, B, M, heads, K),
    ok_bm=jnp.asarray(np.random.default_rng(5).random((B, M)) < 0.8),
    age_bm=jnp.broadcast_to(4 - jnp.arange(M, dtype=toy.DTYPE), (B, M)),
  )
  return dataclasses.replace(base, **changes)


def sliced(part, where):
  leaves = {name: getattr(part, name)[:, where] for name in ('k_bmhk', 'v_bmhk', 'ok_bm', 'age_bm')}
  return dataclasses.replace(part, **leaves)


def plain(queries, part):
  """Attention in plain NumPy, one query and one head at a time."""
  context = np.zeros((B, L, H, K))
  for b, l, h in np.ndindex(B, L, H):
    ok_m = np.asarray(part.ok_bm[b] & (queries.offset_bl[0, l] + part.age_bm[b] >= 0))
    scores_m = np.asarray(part.k_bmhk)[b, :, h] @ np.asarray(queries.q_blhk)[b, l, h]
    weights_m = np.where(ok_m, np.exp(scores_m / np.sqrt(K)), 0)
    context[b, l, h] = weights_m / max(weights_m.sum(), 1e-300) @ np.asarray(part.v_bmhk)[b, :, h]
  return context.astype(toy.DTYPE)


def test_attention_is_a_softmax_of_dot_products():
  close(attention.attend(queries(), [part()]), plain(queries(), part()))
  scale_h = jnp.full(H, 1 / np.sqrt(K), toy.DTYPE)
  close(attention.attend(queries(scale_h=scale_h), [part()]), plain(queries(), part()))


@pytest.mark.parametrize('term', TERMS)
@pytest.mark.parametrize('window', ['block', 'sliding', 'past'])
def test_one_softmax_covers_all_parts(term, window):
  whole = part(position=TERMS[term], window=window, reach=3)
  parts = [sliced(whole, np.s_[:2]), sliced(whole, np.s_[2:])]
  close(attention.attend(queries(), parts), attention.attend(queries(), [whole]))


def test_parts_may_have_different_positions_and_windows():
  parts = [part(position=TERMS['aged']), part(position=TERMS['buckets'], window='past', reach=2)]
  weights = attention.weights(queries(), parts)
  close(weights.sum(-1), jnp.ones_like(weights[..., 0]))
  old = attention.seen_by(queries(), parts[1])
  assert (weights[..., M:] > 0)[:, 0].tolist() == old.tolist()


def test_a_query_without_keys_gets_a_zero_context():
  ok_bm = jnp.zeros((B, M), bool).at[1].set(True)
  context = attention.attend(queries(), [part(ok_bm=ok_bm)])
  assert not context[0].any()
  assert context[1].all()


def test_masked_values_that_are_not_finite_have_no_effect():
  clean, ok = part(), np.asarray(part().ok_bm)[..., None, None]
  dirty = part(k_bmhk=jnp.where(ok, clean.k_bmhk, jnp.inf), v_bmhk=jnp.where(ok, clean.v_bmhk, jnp.nan))
  assert not ok.all()
  expected = attention.attend(queries(), [clean])
  chex.assert_trees_all_equal(attention.attend(queries(), [dirty]), expected)
  chex.assert_trees_all_equal(attention.attend(queries(), [part(finite=True)]), expected)

  def total(q_blhk, part):
    return (attention.attend(queries(q_blhk=q_blhk), [part]) ** 2).sum()

  gradients = [jax.grad(total)(queries().q_blhk, part) for part in (dirty, clean)]
  chex.assert_trees_all_equal(*gradients)


@pytest.mark.parametrize('term', TERMS)
@pytest.mark.parametrize('heads', [1, 2])
def test_grouped_keys_equal_repeated_keys(term, heads):
  grouped = part(heads, position=TERMS[term])
  k_bmhk, v_bmhk = (np.repeat(a, H // heads, axis=2) for a in (grouped.k_bmhk, grouped.v_bmhk))
  repeated = dataclasses.replace(grouped, k_bmhk=jnp.asarray(k_bmhk), v_bmhk=jnp.asarray(v_bmhk))
  close(attention.attend(queries(), [grouped]), attention.attend(queries(), [repeated]))


def test_received_sums_the_weights_over_heads_and_real_queries():
  ok_bl = jnp.array([[True, False, True], [True, True, True]])
  parts = [part(), part(window='past', reach=3)]
  weights = np.asarray(attention.weights(queries(), parts))
  expected = np.einsum('bhlm,bl->bm', weights, ok_bl)[:, : M + 2]
  close(attention.sum_received(queries(), parts, ok_bl, width=M + 2), expected.astype(toy.DTYPE))

  def total(q_blhk):
    return (attention.sum_received(queries(q_blhk=q_blhk), parts, ok_bl, width=2) ** 2).sum()

  assert not jax.grad(total)(queries().q_blhk).any()


def test_aged_positions_require_the_positions_of_the_queries():
  with pytest.raises(ValueError, match='position_q_blhk = None: Aged positions need'):
    attention.attend(queries(position_q_blhk=None), [part(position=TERMS['aged'])])


def test_dropout_of_weights_preserves_the_mean_and_draws_per_row():
  count = 4000
  keys = jax.random.split(jax.random.key(0), (count, B))
  expected = attention.attend(queries(), [part()])

  def attend(key_b):
    dropout = attention.WeightDropout(key_b=key_b, rate=0.25)
    return attention.attend(queries(), [part()], dropout=dropout)

  dropped = np.asarray(jax.jit(jax.vmap(attend))(keys), np.float64)
  error = np.abs(dropped.mean(0) - expected) / (dropped.std(0) / np.sqrt(count))
  assert error.max() < 5
  same = attend(jnp.stack([keys[0, 0], keys[0, 0]])), attend(keys[0])
  chex.assert_trees_all_equal(same[0][0], same[1][0])
  assert (same[0][1] != same[1][1]).any()
