"""The transformer: lanes, padding, random keys, and the state between chunks."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.nn import transformer
from tests import toy
from tests.bits import bits

KEY = jax.random.key(7)


@pytest.fixture(scope='module')
def model():
  """(config, graphdef, params) of a model with every kind of state, dropout and random draws."""
  config = toy.config(toy.MEMORIES['stacked'], dropout=0.1)
  return config, *toy.build(config)


def test_a_lane_does_not_depend_on_the_others(model):
  _, graphdef, params = model
  batch, other = toy.batch(), toy.batch(documents=((9, 9), (26, 18), (48,), ()), seed=2)
  mixed = jax.tree.map(lambda a, b: np.concatenate([b[:1], a[1:2], b[2:]]), batch, other)
  outputs = [toy.run(graphdef, params, each, KEY) for each in (batch, mixed)]
  lanes = [jax.tree.map(lambda leaf: leaf[1], (out.hidden_bsld, out.state, out.reads)) for out in outputs]
  chex.assert_trees_all_equal(*lanes)


def test_padding_has_no_effect(model):
  _, graphdef, params = model
  batch = toy.batch()
  tokens_bsl = np.where(batch.ok_bsl, batch.tokens_bsl, (batch.tokens_bsl + 5) % toy.VOCABULARY)
  other = dataclasses.replace(batch, tokens_bsl=tokens_bsl)
  outputs = [toy.run(graphdef, params, each, KEY) for each in (batch, other)]
  memories = [
    (out.hidden_bsld[batch.ok_bsl], out.aux, [block.memory for block in out.state.blocks]) for out in outputs
  ]
  chex.assert_trees_all_equal(*memories)


def test_an_idle_lane_stays_empty(model):
  _, graphdef, params = model
  state = toy.run(graphdef, params, toy.batch(), KEY).state
  for block_state, block in zip(state.blocks, transformer.merge(graphdef, params).blocks, strict=True):
    assert np.array_equal(block.memory.filled(block_state.memory), [True, True, False, False])


def test_random_draws_depend_on_the_lane_and_the_absolute_segment(model):
  _, graphdef, params = model
  batch = toy.batch(documents=((4,) * toy.SEGMENTS,) * 4)
  one = np.broadcast_to(batch.tokens_bsl[:1, :1], batch.tokens_bsl.shape)
  hidden_bsld = toy.run(graphdef, params, dataclasses.replace(batch, tokens_bsl=one), KEY).hidden_bsld
  assert len(np.unique(np.asarray(hidden_bsld).reshape(4 * toy.SEGMENTS, -1), axis=0)) == 4 * toy.SEGMENTS


def test_layers_draw_different_random_numbers():
  """Both layers add a 1 with dropout to zero, so that 0, 1 or 2 of them remain."""
  config = toy.config(dropout=0.5, final_norm=False, short_term_length=0)
  graphdef, params = toy.build(config)
  nothing = jax.tree.map(jnp.zeros_like, params)
  for block in nothing['blocks'].values():
    block['feed_forward']['w_out']['bias'] = jnp.ones(config.d_model, toy.DTYPE)
  hidden_bsld = toy.run(graphdef, nothing, toy.batch(), KEY).hidden_bsld
  remaining, counts = np.unique(hidden_bsld, return_counts=True)
  assert remaining.tolist() == [0, 2, 4]
  assert counts / hidden_bsld.size == pytest.approx([0.25, 0.5, 0.25], abs=0.05)


def test_the_state_keeps_its_structure(model):
  _, graphdef, params = model
  before = transformer.merge(graphdef, params).init_state(4)
  after = toy.run(graphdef, params, toy.batch(), KEY).state
  chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
  chex.assert_tree_shape_prefix(after, (4,))


def test_segments_are_counted_by_document_and_by_lane(model):
  _, graphdef, params = model
  state = toy.run(graphdef, params, toy.batch(), KEY).state
  assert np.array_equal(state.segments_b, [12, 5, 1, 1])
  assert np.array_equal(state.index_b, [12] * 4)


@pytest.mark.skipif(toy.WIDE, reason='compares bfloat16 with float32')
def test_bfloat16_activations_leave_coefficients_in_float32(model):
  config, graphdef, params = model
  expected = toy.run(graphdef, params, toy.batch(), KEY)
  narrow = toy.build(dataclasses.replace(config, compute_dtype='bfloat16'))[0]
  output = toy.run(narrow, params, toy.batch(), KEY)
  state = output.state.blocks[0]
  assert output.hidden_bsld.dtype == state.cache_btd.dtype == state.memory.second.x_bmd.dtype == jnp.bfloat16
  assert state.memory.first.b_bnd.dtype == state.memory.first.histogram_bj.dtype == jnp.float32
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(output.aux))
  ok = toy.batch().ok_bsl
  error = np.abs(output.hidden_bsld[ok].astype(np.float32) - expected.hidden_bsld[ok])
  assert error.mean() < 0.02  # Hidden states have unit variance; bfloat16 has 8 bits.


def test_outputs_that_are_not_finite_are_reported_by_row_and_layer(model):
  _, graphdef, params = model

  def finite_bi(params, batch):
    return toy.run(graphdef, params, batch, KEY).finite_bi.tolist()

  batch = toy.batch()
  batch.tokens_bsl[batch.tokens_bsl == 12] = 11
  assert finite_bi(params, batch) == [[True] * 3] * 4
  last = jax.tree.map(lambda leaf: leaf * jnp.nan, params['blocks'][1])
  blocks = {'blocks': {**params['blocks'], 1: last}}
  assert finite_bi(params | blocks, batch) == [[True, True, False]] * 4
  # A token whose embedding is not finite, in the last lane.
  table = params['vocabulary']['embedding']['embedding'].at[12].set(jnp.inf)
  embedding = {'vocabulary': {'embedding': {'embedding': table}}}
  batch.tokens_bsl[3, 0, 2] = 12
  assert finite_bi(params | embedding, batch) == [[True] * 3] * 3 + [[False] * 3]


def test_a_memory_may_have_attributes_that_cannot_be_hashed(model):
  _, graphdef, params = model
  merged, batch = transformer.merge(graphdef, params), toy.batch()
  state = merged.init_state(len(batch.tokens_bsl))
  for block in merged.blocks:
    block.memory.table = {'a': 1}
  output = jax.eval_shape(lambda state: merged(batch, state), state)
  assert output.hidden_bsld.shape == (*batch.tokens_bsl.shape, merged.config.d_model)


def without_memories(params):
  blocks = {i: {k: v for k, v in block.items() if k != 'memory'} for i, block in params['blocks'].items()}
  return bits(params | {'blocks': blocks})


def drawn(config, key=KEY):
  return transformer.build(config, toy.VOCABULARY, key)[1]


@pytest.mark.parametrize('name', toy.MEMORIES)
def test_the_trunk_is_the_same_with_every_memory(name):
  none = without_memories(drawn(toy.config()))
  chex.assert_trees_all_equal(without_memories(drawn(toy.config(toy.MEMORIES[name]))), none)


def test_the_memory_of_a_layer_does_not_depend_on_the_memories_of_others():
  both, second = (
    drawn(toy.config(dataclasses.replace(toy.MEMORIES['continuous'], layers=layers)))['blocks']
    for layers in ((0, 1), (1,))
  )
  chex.assert_trees_all_equal(bits(both[1]['memory']), bits(second[1]['memory']))
  assert not jax.tree.leaves(second[0].get('memory'))
  assert (both[0]['memory']['w_k_dhk'] != both[1]['memory']['w_k_dhk']).all()
