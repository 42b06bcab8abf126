"""The memory of neighbours: exact search, gradients, the ring buffer, and a larger length."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.core import attention, nearest_neighbours
from infformer_jax.errors import ConfigError
from infformer_jax.memory.base import identity
from infformer_jax.memory.neighbours import Neighbours, NeighboursConfig
from infformer_jax.memory.none import Nothing
from infformer_jax.nn import transformer
from tests import toy
from tests.memory import contract

B, L, M, H, K = 2, 3, 9, 2, 4


def unit(seed, *shape):
  x = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), toy.DTYPE)


@pytest.mark.parametrize('approximate', [False, True])
@pytest.mark.parametrize('stored', [0, 2, M])
def test_the_search_equals_a_search_in_numpy(stored, approximate):
  """If fewer slots are filled than requested, the filled ones come first."""
  q, k, num = unit(0, B, L, H, K), unit(1, B, M, H, K), 4
  ok_bm = np.random.default_rng(2).permuted(np.tile(np.arange(M) < stored, (B, 1)), axis=1)
  index = np.asarray(nearest_neighbours.search(q, k, jnp.asarray(ok_bm), num, approximate=approximate))
  assert index.shape == (B, L, H, num)
  for b, l, h in np.ndindex(B, L, H):
    scores_m = np.where(ok_bm[b], np.asarray(k)[b, :, h] @ np.asarray(q)[b, l, h], -np.inf)
    most = min(stored, num)
    assert np.array_equal(index[b, l, h, :most], np.argsort(-scores_m)[:most])
    assert not ok_bm[b, index[b, l, h, most:]].any()


def test_attention_over_the_results_is_a_separate_softmax():
  q, k, v = unit(0, B, L, H, K), unit(1, B, M, H, K), unit(2, B, M, H, K)
  scale_h, ok_bm = jnp.array([3.0, -7.0], toy.DTYPE), jnp.arange(M)[None] < jnp.array([[2], [0]])
  index = nearest_neighbours.search(q, k, ok_bm, 3)
  ok = jax.vmap(lambda ok_m, i: ok_m[i])(ok_bm, index)
  found = nearest_neighbours.attend(
    q, nearest_neighbours.retrieve(k, index), nearest_neighbours.retrieve(v, index), ok, scale_h[None]
  )
  stored = attention.Part(k_bmhk=k, v_bmhk=v, ok_bm=ok_bm, age_bm=jnp.zeros((1, M), toy.DTYPE))
  offset_bl = jnp.zeros((1, L), toy.DTYPE)
  every = attention.attend(
    attention.Queries(q_blhk=q, offset_bl=offset_bl, scale_h=jnp.abs(scale_h)), [stored]
  )
  assert toy.error(found, every) < toy.TOLERANCE  # The search returned all stored slots.
  assert not found[1].any()


def test_recall_is_the_fraction_of_the_nearest_slots_that_was_found():
  found, nearest = (
    jnp.array(rows)[:, None, None] for rows in ([[5, 1, 7], [0, 3, 4]], [[1, 2, 5], [3, 0, 8]])
  )
  ok = jnp.array([[True, True, True], [True, False, False]])[:, None, None]
  assert nearest_neighbours.recall(found, nearest, ok).ravel().tolist() == pytest.approx([2 / 3, 1])
  assert not nearest_neighbours.recall(found, nearest, jnp.zeros_like(ok)).any()


@pytest.fixture(scope='module')
def memory():
  config = NeighboursConfig(length=3 * toy.LENGTH, neighbours=5, search='approximate')
  return Neighbours(config, dataclasses.replace(contract.SITE, lag=1), rngs=nnx.Rngs(0))


def test_queries_scale_and_gate_get_gradients_and_stored_tokens_do_not(memory):
  segments, pasts, _ = contract.material()
  graphdef, params = nnx.split(memory)
  local = contract.normal(4, *segments.q_blhk.shape)

  def loss(params, q, x, w_dhk):
    memory = nnx.merge(graphdef, params)
    scanned = dataclasses.replace(segments, q_blhk=q), dataclasses.replace(pasts, x_bld=x)
    project = lambda x: tuple(jnp.einsum('btd,dhk->bthk', x, w) for w in w_dhk)  # noqa: E731
    state = memory.init_state(contract.B, toy.DTYPE)
    _, read = memory.scan(state, *scanned, contract.NEW_DOC, project, view=identity)
    mixed = jax.vmap(attention.mixed, in_axes=1)(local, read.gated.context_blhk, read.gated.gate_blh)
    return jnp.square(mixed).sum()

  w_dhk = jnp.asarray(contract.normal(3, 2, contract.D, contract.H, contract.K))
  gradients = toy.quickly(jax.grad(loss, argnums=(0, 1, 2, 3)))(params, segments.q_blhk, pasts.x_bld, w_dhk)
  of_params, of_q, of_x, of_w = gradients
  assert all((np.abs(leaf) > 1e-6).all() for leaf in jax.tree.leaves(of_params))
  assert (np.abs(of_q).max(axis=(3, 4)) > 1e-8)[np.asarray(pasts.whole_b)].all()
  assert not of_x.any()
  assert not of_w.any()


def test_a_key_is_found_at_its_age_until_its_slot_is_overwritten(memory):
  """One lane; the query of every token equals the key of the token `back` tokens earlier."""
  segments, pasts, _ = contract.material()
  num, length = contract.S, toy.LENGTH
  x_bsld = jnp.asarray(contract.normal(9, 1, num, length, contract.D))
  keys_td = contract.project(x_bsld.reshape(1, -1, contract.D))[0][0]
  segments, pasts = jax.tree.map(lambda a: a[:1], (segments, pasts))
  new_doc_bs = np.arange(num)[None] == 0
  pasts = dataclasses.replace(
    pasts, x_bld=jnp.roll(x_bsld, 1, axis=1), whole_b=jnp.asarray(np.arange(num)[None] >= 1)
  )
  for back in (length, length + 1, 3 * length):
    q_td = jnp.roll(keys_td, back, axis=0).reshape(1, num, length, contract.H, contract.K)
    asked = dataclasses.replace(segments, q_blhk=q_td, ok_bl=jnp.ones((1, num, length), bool))
    state = memory.init_state(1, toy.DTYPE)
    _, read = memory.scan(state, asked, pasts, new_doc_bs, contract.project, view=identity)
    nearest_slh = read.plots['retrieved_age_blhj'][0, ..., 0].reshape(-1, contract.H)
    assert np.array_equal(nearest_slh[back:], np.full_like(nearest_slh[back:], back))
    oldest = np.arange(num * length) % length + 3 * length  # The reach of the three segments of the ring.
    ages_th = np.where(read.plots['retrieved_ok_blhj'], read.plots['retrieved_age_blhj'], 0)[0].max(
      axis=(2, 3)
    )
    assert (ages_th.ravel() <= oldest).all()
  recall, count = read.aux['neighbours_recall']
  assert (recall, count) == (
    count,
    (num - 1) * contract.H,
  )  # Exact on a CPU; for the first query of each segment.


@pytest.mark.slow
def test_a_larger_length_changes_nothing_while_the_memory_is_not_full():
  """With the same parameters, two lengths agree until the smaller memory overwrites its first segment."""
  outputs, batch = [], toy.batch()
  for segments in (2, 5, 12):
    config = toy.config(toy.small('neighbours', length=segments * toy.LENGTH))
    graphdef, _ = toy.build(config)
    params = toy.build(toy.config(toy.small('neighbours')), spread=0.1)[1]
    outputs.append(toy.run(graphdef, params, batch).hidden_bsld)
  for small, hidden_bsld in zip((2, 5), outputs, strict=False):
    fits = batch.ok_bsl & (batch.segment_bs <= small)[..., None]
    assert toy.error(hidden_bsld[fits], outputs[2][fits]) < toy.TOLERANCE
    assert np.abs(hidden_bsld - outputs[2])[batch.ok_bsl & ~fits].max() > 1e-4


def test_only_one_layer_has_this_memory_by_default():
  config = NeighboursConfig()
  assert [config.layers_of(n) for n in (12, 24, 8, 4, 3, 2, 1)] == [(8,), (17,), (5,), (2,), (2,), (1,), (0,)]
  assert NeighboursConfig(layers=(0, 3)).layers_of(12) == (0, 3)
  assert NeighboursConfig(layers=()).layers_of(12) == ()
  graphdef, params = jax.eval_shape(
    lambda: transformer.build(toy.config(toy.small('neighbours'), num_layers=4), 13, jax.random.key(0))
  )
  assert [i for i, block in params['blocks'].items() if 'memory' in block] == [2]
  kinds = [type(block.memory) for block in transformer.merge(graphdef, params).blocks]
  assert kinds == [Nothing, Nothing, Neighbours, Nothing]


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'neighbours': 0}, r'neighbours = 0 must be in \[1, '),
    ({'length': 16, 'neighbours': 17}, 'neighbours = 17 must be at most length = 16'),
    ({'initial_gate': 1.0}, 'initial_gate = 1.0 must be in .0, 1.'),
  ],
)
def test_invalid_settings_are_rejected(settings, message):
  with pytest.raises(ConfigError, match=message):
    NeighboursConfig(**settings)


def test_a_length_that_is_not_a_multiple_of_segments_is_rejected():
  with pytest.raises(ConfigError, match=r'memory\.length = 6 must be a multiple of .* = 4; use 4 or 8'):
    toy.config(toy.small('neighbours', length=6))
