"""Attention in tiles: equal to that over whole arrays, gradients too, without storing scores."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import attention, attention_tiles
from infformer_jax.core.attention import Part, Queries, WeightDropout
from infformer_jax.core.positions import Aged, Buckets, Relative
from tests import toy

B, L, M, H, K, D, SLOTS = 2, 5, 4, 4, 3, 6, 3
SAME = {'atol': toy.TOLERANCE, 'rtol': toy.TOLERANCE}


@pytest.fixture(autouse=True)
def _two_tiles(monkeypatch):
  monkeypatch.setattr(attention_tiles, 'MIN_QUERIES', 3)


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), toy.DTYPE)


def arguments(window, term, *slot_terms, heads=H, scale_h=None):
  """Queries, a window with a row that sees nothing, and slots at fractions of tokens."""
  width = M + L
  queries = Queries(
    q_blhk=normal(1, B, L, H, K),
    offset_bl=jnp.arange(L, dtype=toy.DTYPE)[None],
    position_q_blhk=normal(2, B, L, H, K),
    scale_h=scale_h,
  )
  keys = Part(
    k_bmhk=normal(4, B, width, heads, K),
    v_bmhk=normal(5, B, width, heads, K),
    ok_bm=jnp.asarray(np.random.default_rng(6).random((B, width)) < 0.7).at[0].set(False),
    age_bm=M - jnp.arange(width, dtype=toy.DTYPE)[None],
    position=term,
    window=window,
    reach=M,
    consecutive=True,
  )
  slots = Part(
    k_bmhk=normal(7, B, SLOTS, heads, K),
    v_bmhk=normal(8, B, SLOTS, heads, K),
    ok_bm=jnp.ones((B, SLOTS), bool).at[0].set(False),
    age_bm=jnp.abs(normal(9, B, SLOTS)) * 6,
  )
  return queries, [keys, *(dataclasses.replace(slots, position=term) for term in slot_terms)]


RELATIVE, TABLE = Relative(r_mhk=normal(10, M + L, H, K)), Buckets(table_jh=normal(11, 8, H))
AGED = Aged(w_dhk=normal(12, D, H, K), clamp_length=9)
CASES = {
  'xl, slots with xl and t5': (arguments('sliding', RELATIVE, AGED, TABLE), 0.0),
  't5, slots without, grouped keys, scale, dropout': (
    arguments('past', TABLE, None, heads=2, scale_h=jnp.abs(normal(3, H))),
    0.25,
  ),
}


@pytest.mark.parametrize('case', CASES)
def test_tiles_equal_whole_arrays(case, monkeypatch):
  given, rate = CASES[case]
  dropout = WeightDropout(key_b=jax.random.split(jax.random.key(0), B), rate=rate) if rate else None
  weight_blhk = normal(13, B, L, H, K)
  leaves, structure = jax.tree.flatten(given)
  is_float = [leaf.dtype != bool for leaf in leaves]

  def results(min_scores):
    monkeypatch.setattr(attention, 'MIN_SCORES', min_scores)

    def total(floats):
      floats = iter(floats)
      merged = [next(floats) if wanted else leaf for leaf, wanted in zip(leaves, is_float, strict=True)]
      queries, parts = jax.tree.unflatten(structure, merged)
      context_blhk = attention.attend(queries, parts, dropout=dropout)
      received_bw = attention.sum_received(queries, parts, jnp.ones((B, L), bool), width=M + L)
      return (context_blhk * weight_blhk).sum(), (context_blhk, received_bw)

    floats = [leaf for leaf, wanted in zip(leaves, is_float, strict=True) if wanted]
    return jax.jit(jax.grad(total, has_aux=True))(floats)

  actual, expected = results(0), results(math.inf)
  assert not actual[1][0][0].any(), 'a row without keys'
  chex.assert_trees_all_close(actual, expected, **SAME)


@pytest.mark.parametrize('window', ['block', 'sliding', 'past'])
def test_a_tile_has_the_keys_that_its_queries_see_and_no_others(window):
  queries, parts = arguments(window, None)
  everything = dataclasses.replace(parts[0], ok_bm=jnp.ones((B, M + L), bool))

  def counts(queries, parts, keep):
    del keep
    seen_blm = attention.seen_by(queries, parts[0])
    widths.append(seen_blm.shape[2])
    return seen_blm.sum(-1)[..., None, None].astype(toy.DTYPE)

  widths = []
  counted = attention_tiles.map_queries(counts, queries, [everything])[:, :, 0, 0]
  assert np.array_equal(counted, attention.seen_by(queries, everything).sum(-1))
  assert widths == ([7, 9] if window == 'block' else [7, 6])


def test_accelerators_compute_one_head_after_another_and_other_platforms_whole_arrays(monkeypatch):
  monkeypatch.setattr(attention, 'MIN_SCORES', 0)
  queries, parts = CASES['xl, slots with xl and t5'][0]

  def total(q_blhk):
    return attention.attend(dataclasses.replace(queries, q_blhk=q_blhk), parts).sum()

  traced = jax.jit(jax.grad(total)).trace(queries.q_blhk)
  for platform in ('cpu', 'tpu', 'cuda', 'rocm'):
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ('stablehlo.while' in text) == (platform != 'rocm'), platform


def test_only_one_tile_of_scores_exists_at_a_time():
  rows, length, heads, size = 2, 256, 8, 2

  def temporary(of):
    q = jax.ShapeDtypeStruct((rows, length, heads, size), 'float32')
    kv = jax.ShapeDtypeStruct((rows, 2 * length, heads, size), 'float32')
    return jax.jit(jax.grad(of, (0, 1, 2))).lower(q, kv, kv).compile().memory_analysis().temp_size_in_bytes

  def total(q_blhk, k_bmhk, v_bmhk):
    offset_bl = jnp.arange(length, dtype='float32')[None]
    ok_bm, age_bm = jnp.ones((rows, 2 * length), bool), length - jnp.arange(2 * length, dtype='float32')[None]
    part = Part(k_bmhk=k_bmhk, v_bmhk=v_bmhk, ok_bm=ok_bm, age_bm=age_bm, consecutive=True)
    return attention.attend(Queries(q_blhk=q_blhk, offset_bl=offset_bl), [part]).sum()

  scores = rows * heads * length * 2 * length * 4  # bytes
  assert temporary(total) < scores
