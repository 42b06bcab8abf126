"""What a token sees and what it learns from; lanes, padding, keys; the ways of computing the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.nn import transformer
from infformer_jax.nn.layers import dropout
from tests import toy

L = toy.LENGTH
KEY = jax.random.key(7)


def influence(config, batch, *, size):
  """[tokens, tokens] of the batch, padding too: the gradient of each hidden state by each embedding."""
  tokens = np.arange(batch.tokens_bsl.size, dtype=np.int32)  # Each a word of its own, so that its row is it.
  graphdef, params = toy.build(config, vocabulary=tokens.size, spread=0.1)
  batch = dataclasses.replace(batch, tokens_bsl=tokens.reshape(batch.tokens_bsl.shape))
  weights_d = np.random.default_rng(0).normal(size=config.d_model)

  def outputs(table_vd):
    embedded = params | {'vocabulary': {'embedding': {'embedding': table_vd}}}
    return (toy.stream(graphdef, embedded, batch, size=size).hidden_bsld @ weights_d).ravel()

  jacobian_ttd = toy.quickly(jax.jacrev(outputs))(params['vocabulary']['embedding']['embedding'])
  return np.abs(np.asarray(jacobian_ttd)).max(axis=-1)


def reach(config, batch, *, size):
  """[tokens, tokens] what one layer lets each real token learn from, by the design's words."""
  documents_bs, segments_bs = batch.document_bs, batch.segment_bs
  lane, s, i = (a.ravel() for a in np.indices(batch.tokens_bsl.shape))
  document, segment = documents_bs[lane, s], segments_bs[lane, s]
  ok = batch.ok_bsl.ravel()
  back = segment[:, None] - segment[None]
  memory, short = config.memory, config.short_term_length // L
  lag = 1 if memory.source == 'previous' else short + 1
  distance = back * L + i[:, None] - i[None]
  seen = {
    'block': (distance >= 0) & (back <= short),
    'sliding': (distance >= 0) & (distance < short * L),
    'past': (distance >= 1) & (distance <= short * L),
  }[config.window]
  local = seen & ((back == 0) | (not config.stop_short_term_gradient))
  tokens = getattr(memory, 'length', 0) * getattr(memory, 'rate', 1)
  capacity = {'none': 0, 'neighbours': 0, 'recent': tokens // L, 'compressive': tokens // L}
  capacity = capacity.get(memory.kind, np.inf)
  remembered = (lag <= back) & (back < lag + capacity)
  itself = distance == 0  # By the residual stream.
  same = (lane[:, None] == lane[None]) & (document[:, None] == document[None])
  chunk = s // size
  same_chunk = chunk[:, None] == chunk[None]
  return same & same_chunk & ok[:, None] & ok[None] & (local | remembered | itself)


INFLUENCES = {
  'none': {'short_term_length': 2 * L},
  'stopped': {'short_term_length': 2 * L, 'stop_short_term_gradient': True},
  'sliding': {'short_term_length': 2 * L, 'window': 'sliding'},
  'past_stopped': {'window': 'past', 'stop_short_term_gradient': True},
  'recent': {'memory': toy.small('recent', length=L)},
  'recent_stopped': {'memory': toy.small('recent', source='previous'), 'stop_short_term_gradient': True},
  'continuous': {'memory': toy.small('continuous', gate=True), 'stop_short_term_gradient': True},
  'compressive': {
    'memory': toy.small('compressive', length=2, compression='dilated'),
    'stop_short_term_gradient': True,
  },
  'lag_segments': {'memory': toy.small('continuous'), 'stop_short_term_gradient': True, 'size': 2},
  'neighbours': {'memory': toy.small('neighbours', layers=(0,)), 'window': 'past'},
  'one_segment': {'memory': toy.small('continuous', gate=True), 'short_term_length': 0, 'size': 1},
}


@pytest.mark.parametrize('name', INFLUENCES)
def test_a_token_learns_from_exactly_what_it_may_see(name):
  """Nothing of the future, other lanes, other documents, padding or behind a stop; all of the rest.

  What is read from the memory reaches the layer that made it exactly where the chunk holds lag + 1 segments.
  """
  settings = dict(INFLUENCES[name])
  size = settings.pop('size', 6)
  config = toy.config(num_layers=1, **settings)
  batch = toy.batch(documents=((24,), (7, 14)), segments=6)
  actual, expected = influence(config, batch, size=size), reach(config, batch, size=size)
  ok = batch.ok_bsl.ravel()
  assert np.array_equal(actual[ok] != 0, expected[ok])


def gradients(config, *, size=toy.SEGMENTS, spread=0.1, key=None):
  """The loss of a fixed direction of all real tokens, and its gradients."""
  graphdef, params = toy.build(config, spread=spread)
  batch = toy.batch()
  weights_bsld = np.random.default_rng(0).normal(size=(*batch.ok_bsl.shape, config.d_model))
  weights_bsld *= batch.ok_bsl[..., None]

  def loss(params):
    return (toy.stream(graphdef, params, batch, key, size=size).hidden_bsld * weights_bsld).sum()

  return toy.quickly(jax.value_and_grad(loss))(params)


def test_what_sees_nothing_gets_nothing():
  """A document's first token strictly of the past: without a feed-forward it stays what it was."""
  config = toy.config(window='past', norm_position='pre', final_norm=False)
  graphdef, params = toy.build(config, spread=0.1)
  alone = params | {
    'blocks': {
      i: block | {'feed_forward': jax.tree.map(jnp.zeros_like, block['feed_forward'])}
      for i, block in params['blocks'].items()
    }
  }
  batch = toy.batch()
  first = batch.segment_bs == 0
  hidden_bsld = toy.run(graphdef, alone, batch).hidden_bsld
  embedded = params['vocabulary']['embedding']['embedding'][batch.tokens_bsl]
  assert np.array_equal(hidden_bsld[first][:, 0], embedded[first][:, 0])
  assert (np.abs(hidden_bsld - embedded)[first][:, 1].max(-1) > 1e-6)[batch.ok_bsl[first][:, 1]].all()
  _, gradient = gradients(config)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_projections_learn_from_a_stopped_window():
  """In one layer the stop takes the gradient from the embeddings and leaves that of the projections."""
  (_, free), (_, stopped) = (
    gradients(toy.config(num_layers=1, stop_short_term_gradient=stop)) for stop in (False, True)
  )
  assert toy.error(stopped['blocks'], free['blocks']) < toy.TOLERANCE
  assert toy.error(stopped['vocabulary'], free['vocabulary']) > 1e-3


def test_a_chunk_of_one_segment_trains_what_the_write_learns():
  """Published training: gate and reads learn, though the values come from an earlier chunk."""
  _, gradient = gradients(toy.config(toy.small('continuous', gate=True), num_layers=1), size=1)
  for name, leaf in gradient['blocks'][0]['memory'].items():
    assert all(np.abs(part).max() > 1e-6 for part in jax.tree.leaves(leaf)), name


@pytest.mark.parametrize('name', ['even', 'most_used'])
def test_rematerialization_changes_nothing(name):
  config = toy.config(toy.MEMORIES[name], num_layers=1, dropout=0.1)
  kept, again = (gradients(dataclasses.replace(config, remat=remat), key=KEY) for remat in (False, True))
  assert toy.error(again, kept) < toy.TOLERANCE


@pytest.fixture(scope='module')
def model():
  """(config, graphdef, params) with every kind of state, dropout and draws."""
  config = toy.config(toy.MEMORIES['stacked'], dropout=0.1)
  return config, *toy.build(config)


def test_a_lane_does_not_depend_on_the_others(model):
  _, graphdef, params = model
  batch, other = toy.batch(), toy.batch(documents=((9, 9), (26, 18), (48,), ()), seed=2)
  mixed = jax.tree.map(lambda a, b: np.concatenate([b[:1], a[1:2], b[2:]]), batch, other)
  outputs = [toy.run(graphdef, params, of, KEY) for of in (batch, mixed)]
  lanes = [jax.tree.map(lambda leaf: leaf[1], (of.hidden_bsld, of.state, of.reads)) for of in outputs]
  jax.tree.map(np.testing.assert_array_equal, *lanes)


def test_padding_changes_nothing(model):
  _, graphdef, params = model
  batch = toy.batch()
  tokens_bsl = np.where(batch.ok_bsl, batch.tokens_bsl, (batch.tokens_bsl + 5) % toy.VOCABULARY)
  other = dataclasses.replace(batch, tokens_bsl=tokens_bsl)
  outputs = [toy.run(graphdef, params, of, KEY) for of in (batch, other)]
  memories = [
    (of.hidden_bsld[batch.ok_bsl], of.aux, [block.memory for block in of.state.blocks]) for of in outputs
  ]
  jax.tree.map(np.testing.assert_array_equal, *memories)


def test_an_idle_lane_stays_empty(model):
  _, graphdef, params = model
  state = toy.run(graphdef, params, toy.batch(), KEY).state
  for block_state, block in zip(state.blocks, transformer.merge(graphdef, params).blocks, strict=True):
    assert np.array_equal(block.memory.filled(block_state.memory), [True, True, False, False])


def test_keys_draw_by_lane_and_by_absolute_segment(model):
  _, graphdef, params = model
  batch = toy.batch(documents=((4,) * toy.SEGMENTS,) * 4)
  one = np.broadcast_to(batch.tokens_bsl[:1, :1], batch.tokens_bsl.shape)
  hidden_bsld = toy.run(graphdef, params, dataclasses.replace(batch, tokens_bsl=one), KEY).hidden_bsld
  assert len(np.unique(np.asarray(hidden_bsld).reshape(4 * toy.SEGMENTS, -1), axis=0)) == 4 * toy.SEGMENTS


def test_layers_draw_differently():
  """Both layers add a dropped 1 to nothing at all: 0, 1 and 2 of them remain."""
  config = toy.config(dropout=0.5, final_norm=False, short_term_length=0)
  graphdef, params = toy.build(config)
  nothing = jax.tree.map(jnp.zeros_like, params)
  for block in nothing['blocks'].values():
    block['feed_forward']['w_out']['bias'] = jnp.ones(config.d_model, toy.DTYPE)
  hidden_bsld = toy.run(graphdef, nothing, toy.batch(), KEY).hidden_bsld
  remaining, counts = np.unique(hidden_bsld, return_counts=True)
  assert remaining.tolist() == [0, 2, 4]
  assert counts / hidden_bsld.size == pytest.approx([0.25, 0.5, 0.25], abs=0.05)


def test_dropout_keeps_the_mean_and_needs_a_key():
  x_bsld, keys_bs = jnp.ones((4, 5, 50, 40)), jax.random.split(KEY, (4, 5))
  dropped = np.asarray(dropout(x_bsld, keys_bs, 0.25, 0))
  assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
  assert abs(dropped.mean() - 1) < 5 * np.sqrt(0.25 / 0.75 / dropped.size)
  assert (dropped != np.asarray(dropout(x_bsld, keys_bs, 0.25, 1))).any()
  assert dropout(x_bsld, None, 0.25, 0) is x_bsld


def test_the_state_keeps_its_structure(model):
  _, graphdef, params = model
  before = transformer.merge(graphdef, params).init_state(4)
  after = toy.run(graphdef, params, toy.batch(), KEY).state
  assert jax.tree.structure(before) == jax.tree.structure(after)
  for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert a.shape[0] == 4


def test_segments_are_counted_by_document_and_by_lane(model):
  _, graphdef, params = model
  state = toy.run(graphdef, params, toy.batch(), KEY).state
  assert np.array_equal(state.segments_b, [12, 5, 1, 1])
  assert np.array_equal(state.index_b, [12] * 4)


@pytest.mark.skipif(toy.WIDE, reason='bfloat16 stands beside float32')
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
