"""The attention of a layer: position scores, the gate per head, and the layouts of other checkpoints."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.core import attention as core
from infformer_jax.nn.attention import Attention
from infformer_jax.types import Gated
from tests import toy

B, L, W, D, H, K = 2, 2, 6, 8, 2, 4


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), toy.DTYPE)


TRUNKS = {
  'xl': {'positions': 'xl'},
  'clamped': {'positions': 'xl', 'clamp_length': 3, 'window': 'sliding'},
  'rotary': {'positions': 'rotary'},
  't5': {'positions': 't5', 'normalize_qk': True, 'window': 'past'},
  'learned': {'positions': 'learned', 'short_term_length': 0},
  'grouped': {'positions': 'xl', 'num_kv_heads': 1, 'qkv_bias': True, 'attention_output_bias': True},
}


def layer_of(**settings):
  sizes = {'d_model': D, 'num_heads': H, 'segment_length': L, 'short_term_length': W - L}
  return Attention(toy.config(**sizes | settings), rngs=nnx.Rngs(0))


@pytest.fixture(scope='module', params=TRUNKS)
def attention(request):
  """(the layer, the u and v of its model)."""
  layer = layer_of(**TRUNKS[request.param])
  return layer, (normal(1, H, K), normal(2, H, K)) if layer.config.positions == 'xl' else None


def scores(queries, part):
  """Scores before scaling."""
  content, position = core.content_scores(queries, part), core.position_scores(queries, part)
  return np.asarray(content if position is None else content + position)


def material(layer):
  heads = layer.config.kv_heads
  return normal(3, B, L, H, K), normal(4, B, W, heads, K), normal(5, B, W, heads, K)


def test_scores_of_keys_by_age_equal_those_of_a_window(attention):
  layer, biases = attention
  q, k, v = material(layer)
  ok_bw = jnp.asarray(np.random.default_rng(6).random((B, W)) < 0.8)
  age_bw = jnp.broadcast_to(jnp.asarray(W - L - np.arange(W), toy.DTYPE), (B, W))
  queries = layer.ask(q, jnp.broadcast_to(jnp.arange(L, dtype=toy.DTYPE), (B, L)), biases)
  window, aged = layer.window(k, v, ok_bw), layer.keys(k, v, age_bw, ok_bw)
  seen = core.seen_by(queries, window)
  assert np.array_equal(seen, core.seen_by(queries, aged))
  seen = np.broadcast_to(seen[:, None], (B, H, L, W))
  assert toy.error(scores(queries, aged)[seen], scores(queries, window)[seen]) < toy.TOLERANCE


def test_scores_depend_only_on_the_distance(attention):
  """Queries and keys are moved together, also by a fraction of a token."""
  layer, biases = attention
  q, k, v = material(layer)
  offset_bl, age_bw = jnp.abs(normal(7, B, L)), 10 * jnp.abs(normal(8, B, W))
  ok = jnp.ones((B, W), bool)

  def moved(queries_by, keys_by):
    return scores(layer.ask(q, offset_bl + queries_by, biases), layer.keys(k, v, age_bw - keys_by, ok))

  assert toy.error(moved(2.5, 2.5), moved(0.0, 0.0)) < toy.TOLERANCE
  if layer.config.positions != 'learned':
    assert toy.error(moved(0.0, 2.5), moved(0.0, 0.0)) > 0.01


def test_distances_above_the_clamp_length_score_as_the_clamp_length():
  layer, biases = layer_of(**TRUNKS['clamped']), (normal(1, H, K), normal(2, H, K))
  q, k = normal(3, 1, 1, H, K), jnp.broadcast_to(normal(4, 1, 1, H, K), (1, 6, H, K))
  ages = jnp.array([[0.0, 2.5, 3.0, 3.5, 4.0, 900.0]], toy.DTYPE)
  part = layer.keys(k, k, ages, jnp.ones((1, 6), bool))
  scores_hm = scores(layer.ask(q, jnp.zeros((1, 1)), biases), part)[0, :, 0]
  assert toy.error(scores_hm[:, 3:], np.repeat(scores_hm[:, 2:3], 3, axis=1)) < toy.TOLERANCE
  assert np.abs(scores_hm[:, :2] - scores_hm[:, 2:3]).min() > 1e-3


def test_normalized_queries_and_keys_have_a_learned_scale_whose_sign_is_ignored():
  layer = layer_of(positions='t5', normalize_qk=True)
  q, k, v = material(layer)
  assert np.array_equal(layer.scale_h[...], np.full(H, np.sqrt(K), toy.DTYPE))
  layer.scale_h = nnx.Param(jnp.array([-3.0, 0.5], toy.DTYPE))
  queries = layer.ask(q, jnp.zeros((1, L), toy.DTYPE), None)
  part = layer.keys(k, v, jnp.ones((1, W), toy.DTYPE), jnp.ones((B, W), bool), window='block')
  unit_q, unit_k = (a / np.linalg.norm(a, axis=-1, keepdims=True) for a in map(np.asarray, (q, k)))
  expected = np.einsum('blhk,bmhk->bhlm', unit_q, unit_k) + np.asarray(layer.bias_jh)[1][:, None, None]
  scaled = np.exp(expected * np.array([3.0, 0.5])[:, None, None])
  weights = scaled / scaled.sum(-1, keepdims=True)
  assert toy.error(core.weights(queries, [part]), weights) < 1e-5  # 1e-6 under the root, as published.
  units = np.square(core.normalized(normal(1, 5, K))).sum(-1)
  assert units == pytest.approx(np.ones(5), abs=1e-5)


def test_a_gate_per_head_mixes_local_and_retrieved_contexts(attention):
  layer, biases = attention
  q, k, v = material(layer)
  queries = layer.ask(q, jnp.arange(L, dtype=toy.DTYPE)[None], biases)
  parts = [layer.window(k, v, jnp.ones((B, W), bool))]
  local, context_blhk = layer.attend(queries, parts, None), normal(7, B, L, H, K)
  retrieved = layer.w_o(context_blhk.reshape(B, L, -1))
  for gate in (0.0, 1.0, 0.25):
    gated = Gated(context_blhk=context_blhk, gate_blh=jnp.full((B, L, H), gate, toy.DTYPE))
    mixed = layer.attend(queries, parts, gated)
    assert toy.error(mixed, gate * retrieved + (1 - gate) * local) < toy.TOLERANCE


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def attended(layer, x):
  """Applies the layer to a single segment."""
  k, v = layer.project(x)
  part = layer.window(k, v, jnp.ones(x.shape[:2], bool))
  return layer.attend(layer.ask(layer.queries(x), jnp.arange(5, dtype=toy.DTYPE)[None], None), [part], None)


def causal(q_lk, k_lk, v_lk):
  scores = q_lk @ k_lk.T / np.sqrt(q_lk.shape[1])
  return softmax(np.where(np.tri(len(q_lk)), scores, -np.inf)) @ v_lk


def test_the_weights_of_gpt2_can_be_loaded():
  """c_attn [d, 3d] with its columns in the order q, k, v; c_proj [d, d]; both with biases."""
  rng = np.random.default_rng(0)
  x, c_attn, bias = rng.normal(size=(5, 8)), rng.normal(size=(8, 24)), rng.normal(size=24)
  c_proj, out_bias = rng.normal(size=(8, 8)), rng.normal(size=8)
  q, k, v = np.split(x @ c_attn + bias, 3, axis=1)
  heads = [causal(*(a[:, h * K : (h + 1) * K] for a in (q, k, v))) for h in range(H)]
  expected = np.concatenate(heads, axis=1) @ c_proj + out_bias

  layer = layer_of(
    positions='learned', short_term_length=0, qkv_bias=True, attention_output_bias=True, segment_length=5
  )
  parts = zip(np.split(c_attn, 3, axis=1), np.split(bias, 3), strict=True)
  for linear, (kernel, bias) in zip((layer.w_q, layer.w_k, layer.w_v), parts, strict=True):
    linear.kernel[...], linear.bias[...] = jnp.asarray(kernel, toy.DTYPE), jnp.asarray(bias, toy.DTYPE)
  layer.w_o.kernel[...], layer.w_o.bias[...] = (jnp.asarray(a, toy.DTYPE) for a in (c_proj, out_bias))
  assert toy.error(attended(layer, jnp.asarray(x, toy.DTYPE)[None])[0], expected) < toy.TOLERANCE


def test_the_weights_of_llama_can_be_loaded():
  """q_proj [h·k, d], k_proj and v_proj [kv·k, d], o_proj [d, h·k]; rotate-half; Qwen2's biases."""
  rng, kv = np.random.default_rng(0), 2
  x, w_q, w_o = rng.normal(size=(5, 8)), rng.normal(size=(4 * 6, 8)), rng.normal(size=(8, 4 * 6))
  (w_k, w_v), biases = rng.normal(size=(2, kv * 6, 8)), [rng.normal(size=n * 6) for n in (4, kv, kv)]
  q, k, v = ((x @ w.T + b).reshape(5, -1, 6) for w, b in zip((w_q, w_k, w_v), biases, strict=True))
  angle = np.arange(5)[:, None] / 10000 ** (np.arange(3) / 3)
  cos, sin = (np.tile(f(angle), 2) for f in (np.cos, np.sin))

  def rotated(a_lk):
    return a_lk * cos + np.concatenate([-a_lk[:, 3:], a_lk[:, :3]], axis=1) * sin

  heads = [causal(rotated(q[:, h]), rotated(k[:, h // 2]), v[:, h // 2]) for h in range(4)]
  expected = np.concatenate(heads, axis=1) @ w_o.T

  layer = layer_of(
    positions='rotary',
    num_heads=4,
    num_kv_heads=kv,
    head_dim=6,
    qkv_bias=True,
    segment_length=5,
    short_term_length=0,
  )
  for linear, kernel in zip((layer.w_q, layer.w_k, layer.w_v, layer.w_o), (w_q, w_k, w_v, w_o), strict=True):
    linear.kernel[...] = jnp.asarray(kernel.T, toy.DTYPE)
  for linear, bias in zip((layer.w_q, layer.w_k, layer.w_v), biases, strict=True):
    linear.bias[...] = jnp.asarray(bias, toy.DTYPE)
  assert layer.w_o.bias is None
  assert toy.error(attended(layer, jnp.asarray(x, toy.DTYPE)[None])[0], expected) < toy.TOLERANCE


def test_the_defaults_have_neither_biases_nor_groups():
  layer = layer_of()
  assert all(linear.bias is None for linear in (layer.w_q, layer.w_k, layer.w_v, layer.w_o, layer.w_r))
  assert layer.w_k.kernel.shape == layer.w_q.kernel.shape
  assert dataclasses.asdict(layer.config)['num_kv_heads'] is None
