"""Scores by position: one formula for windows and for keys of any age; masks as drawn; the gated mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.core import attention as core
from infformer_jax.nn.attention import Attention, Keys
from infformer_jax.types import Gated, Slots
from tests import toy

B, L, W, D, H, K = 2, 2, 6, 8, 2, 4


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), toy.DTYPE)


DRAWN = {
  'block': [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
  'sliding': [[0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]],
  'past': [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0]],
}


@pytest.mark.parametrize('window', DRAWN)
def test_masks_are_as_drawn(window):
  assert np.array_equal(core.mask(window, 3, 5), DRAWN[window])


@pytest.mark.parametrize(
  ('cached', 'length', 'most'), [(4, 4, 4), (3, 2, 6), (8, 4, 8), (0, 5, 3), (2, 6, 4)]
)
def test_sliding_is_same_length(cached, length, most):
  """Transformer-XL's mask, as it is written there, where its memory holds `cached` of `most` tokens."""
  ones = np.ones((length, cached + length), bool)
  too_many = cached + length - most
  shift = length - too_many if too_many > 0 else length
  published = ~(np.triu(ones, 1 + cached) | np.tril(ones, -shift))
  assert np.array_equal(core.mask('sliding', length, most + length)[:, most - cached :], published)


def test_relative_shift_is_as_drawn():
  by_distance = jnp.array([[3, 2, 1, 0], [3, 2, 1, 0]], toy.DTYPE)
  by_key = core.relative_shift(by_distance)
  seen = core.mask('block', 2, 4)
  assert np.array_equal(np.where(seen, by_key, -1), [[2, 1, 0, -1], [3, 2, 1, 0]])


@pytest.mark.parametrize(('length', 'width'), [(3, 7), (4, 4), (1, 5)])
def test_relative_shift_puts_the_distance_under_the_key(length, width):
  by_distance = np.broadcast_to(np.arange(width)[::-1], (length, width))
  distance = (width - length) + np.arange(length)[:, None] - np.arange(width)
  seen = core.mask('block', length, width)
  assert np.array_equal(core.relative_shift(jnp.asarray(by_distance, toy.DTYPE))[seen], distance[seen])


TRUNKS = {
  'xl': {'positions': 'xl'},
  'clamped': {'positions': 'xl', 'clamp_length': 3, 'window': 'sliding'},
  'rotary': {'positions': 'rotary'},
  't5': {'positions': 't5', 'normalize_qk': True, 'window': 'past'},
  'learned': {'positions': 'learned', 'short_term_length': 0},
}


@pytest.fixture(scope='module', params=TRUNKS)
def attention(request):
  sizes = {'d_model': D, 'num_heads': H, 'segment_length': L, 'short_term_length': W - L}
  config = toy.config(**sizes | TRUNKS[request.param])
  layer = Attention(config, rngs=nnx.Rngs(0))
  return layer, (normal(1, H, K), normal(2, H, K)) if config.positions == 'xl' else None


def test_keys_by_age_score_as_in_a_window(attention):
  layer, biases = attention
  q, k, v = normal(3, B, L, H, K), normal(4, B, W, H, K), normal(5, B, W, H, K)
  ok_bw = np.random.default_rng(6).random((B, W)) < 0.8
  age_bw = jnp.broadcast_to(jnp.asarray(W - L - np.arange(W), toy.DTYPE), (B, W))
  offset_bl = jnp.broadcast_to(jnp.arange(L), (B, L))
  window = layer.window(q, k, v, ok_bw, biases)
  slots = Slots(k_bmhk=k, v_bmhk=v, age_bm=age_bw, ok_bm=ok_bw)
  aged = layer.aged(q, offset_bl, slots, biases, window=layer.config.window)
  seen = np.broadcast_to(window.ok_blm[:, None], window.scores_bhlm.shape)
  assert np.array_equal(window.ok_blm, aged.ok_blm)
  assert toy.error(aged.scores_bhlm[seen], window.scores_bhlm[seen]) < toy.TOLERANCE


def test_scores_depend_on_the_distance_alone(attention):
  """Queries and keys moved together, by a fraction of a token too."""
  layer, biases = attention
  q, k, v = normal(3, B, L, H, K), normal(4, B, W, H, K), normal(5, B, W, H, K)
  offset_bl, age_bw = jnp.abs(normal(7, B, L)), 10 * jnp.abs(normal(8, B, W))
  ok = np.ones((B, W), bool)
  here, there = (
    layer.aged(q, offset_bl + by, Slots(k_bmhk=k, v_bmhk=v, age_bm=age_bw - by, ok_bm=ok), biases).scores_bhlm
    for by in (0.0, 2.5)
  )
  assert toy.error(there, here) < toy.TOLERANCE
  if layer.config.positions != 'learned':
    moved = layer.aged(q, offset_bl, Slots(k_bmhk=k, v_bmhk=v, age_bm=age_bw - 2.5, ok_bm=ok), biases)
    assert toy.error(moved.scores_bhlm, here) > 0.01


def test_a_masked_key_weighs_nothing_and_nothing_to_see_gives_nothing():
  scores = jnp.array([[1e4, 2.0, 1.0], [3.0, 2.0, 1.0]], toy.DTYPE)
  ok = jnp.array([[False, True, True], [False, False, False]])
  weights = core.softmax(scores, ok)
  assert weights[0, 0] == 0
  assert weights[0, 1:].sum() == pytest.approx(1)
  assert np.array_equal(weights[1], [0, 0, 0])
  gradient = jax.grad(lambda scores: core.softmax(scores, ok)[:, 1].sum())(scores)
  assert np.isfinite(gradient).all()
  assert not gradient[1].any()


def test_distances_above_the_clamp_score_as_the_clamp(attention):
  layer, biases = attention
  if layer.config.clamp_length is None:
    pytest.skip('no clamp')
  q, k = normal(3, 1, 1, H, K), jnp.broadcast_to(normal(4, 1, 1, H, K), (1, 6, H, K))
  ages = jnp.array([[0.0, 2.5, 3.0, 3.5, 4.0, 900.0]], toy.DTYPE)
  slots = Slots(k_bmhk=k, v_bmhk=k, age_bm=ages, ok_bm=np.ones((1, 6), bool))
  scores_hm = np.asarray(layer.aged(q, jnp.zeros((1, 1)), slots, biases).scores_bhlm[0, :, 0])
  assert toy.error(scores_hm[:, 3:], np.repeat(scores_hm[:, 2:3], 3, axis=1)) < toy.TOLERANCE
  assert np.abs(scores_hm[:, :2] - scores_hm[:, 2:3]).min() > 1e-3


def test_units_have_a_learned_scale_whose_sign_says_nothing():
  config = toy.config(d_model=D, num_heads=H, positions='t5', normalize_qk=True)
  layer, v = Attention(config, rngs=nnx.Rngs(0)), normal(5, B, W, H, K)
  scores_bhlm, ok_blm = normal(6, B, H, L, W), np.ones((B, L, W), bool)
  keys = Keys(scores_bhlm=scores_bhlm, ok_blm=ok_blm, v_bmhk=v)
  assert np.array_equal(layer.scale_h[...], np.full(H, np.sqrt(K), toy.DTYPE))
  layer.scale_h = nnx.Param(jnp.array([-3.0, 0.5]))
  scaled = np.asarray(scores_bhlm) * np.array([3.0, 0.5])[:, None, None]
  expected = layer.w_o(core.attend(jnp.asarray(scaled), jnp.asarray(ok_blm), v).reshape(B, L, -1))
  assert toy.error(layer.attend([keys], ()), expected) < toy.TOLERANCE
  units = np.square(core.normalized(normal(1, 5, K))).sum(-1)
  assert units == pytest.approx(np.ones(5), abs=1e-5)


def test_one_softmax_over_all_keys_and_a_gate_per_head(attention):
  layer, _ = attention
  v = normal(5, B, W, H, K)
  scores, ok_blm = normal(6, B, H, L, W), np.ones((B, L, W), bool)
  whole = layer.attend([Keys(scores_bhlm=scores, ok_blm=ok_blm, v_bmhk=v)], ())
  parts = [
    Keys(scores_bhlm=scores[..., m], ok_blm=ok_blm[..., m], v_bmhk=v[:, m]) for m in (np.s_[:2], np.s_[2:])
  ]
  assert toy.error(layer.attend(parts, ()), whole) < toy.TOLERANCE
  context_blhk = normal(7, B, L, H, K)
  for gate in (0.0, 1.0, 0.25):
    mixed = layer.attend(
      parts, Gated(context_blhk=context_blhk, gate_blh=jnp.full((B, L, H), gate, toy.DTYPE))
    )
    retrieved = layer.w_o(context_blhk.reshape(B, L, -1))
    assert toy.error(mixed, gate * retrieved + (1 - gate) * whole) < toy.TOLERANCE
