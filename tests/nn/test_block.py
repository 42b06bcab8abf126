"""The receptive field and the gradients of one layer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.memory.recent import Recent
from infformer_jax.nn import transformer
from infformer_jax.types import Read
from tests import toy
from tests.bits import bits

L = toy.LENGTH
KEY = jax.random.key(7)


def influence(config, batch, *, size):
  """[tokens, tokens] with padding: the largest gradient of each hidden state by each embedding."""
  tokens = np.arange(batch.tokens_bsl.size, dtype=np.int32)  # All distinct: row i of the table is token i.
  graphdef, params = toy.build(config, vocabulary=tokens.size, spread=0.1)
  batch = dataclasses.replace(batch, tokens_bsl=tokens.reshape(batch.tokens_bsl.shape))
  weights_d = np.random.default_rng(0).normal(size=config.d_model)

  def outputs(table_vd):
    embedded = params | {'vocabulary': {'embedding': {'embedding': table_vd}}}
    return (toy.stream(graphdef, embedded, batch, size=size).hidden_bsld @ weights_d).ravel()

  jacobian_ttd = toy.quickly(jax.jacrev(outputs))(params['vocabulary']['embedding']['embedding'])
  return np.abs(np.asarray(jacobian_ttd)).max(axis=-1)


def reach(config, batch, *, size):
  """[tokens, tokens] from which tokens each real token gets gradients, according to docs/design.md."""
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
  itself = distance == 0  # Through the residual connection.
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
def test_a_token_gets_gradients_from_exactly_the_tokens_it_may_see(name):
  """No gradients from the future, other lanes, other documents, padding, or past a stopped gradient.

  Gradients pass through the memory to the layer below exactly if the chunk has at least lag + 1 segments.
  """
  settings = dict(INFLUENCES[name])
  size = settings.pop('size', 6)
  config = toy.config(num_layers=1, **settings)
  batch = toy.batch(documents=((24,), (7, 14)), segments=6)
  actual, expected = influence(config, batch, size=size), reach(config, batch, size=size)
  ok = batch.ok_bsl.ravel()
  assert np.array_equal(actual[ok] != 0, expected[ok])


def gradients(config, *, size=toy.SEGMENTS, spread=0.1, key=None):
  """A random linear loss of all real hidden states, and its gradients."""
  graphdef, params = toy.build(config, spread=spread)
  batch = toy.batch()
  weights_bsld = np.random.default_rng(0).normal(size=(*batch.ok_bsl.shape, config.d_model))
  weights_bsld *= batch.ok_bsl[..., None]

  def loss(params):
    return (toy.stream(graphdef, params, batch, key, size=size).hidden_bsld * weights_bsld).sum()

  return toy.quickly(jax.value_and_grad(loss))(params)


def test_a_query_without_keys_gets_a_zero_context():
  """With window 'past' and no feed-forward, the first token of a document keeps its embedding."""
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


def test_projections_get_gradients_from_a_stopped_window():
  """In a single layer, stopping removes the gradient of the embeddings but not that of the projections."""
  (_, free), (_, stopped) = (
    gradients(toy.config(num_layers=1, stop_short_term_gradient=stop)) for stop in (False, True)
  )
  assert toy.error(stopped['blocks'], free['blocks']) < toy.TOLERANCE
  assert toy.error(stopped['vocabulary'], free['vocabulary']) > 1e-3


def test_a_chunk_of_one_segment_trains_all_parameters_of_the_memory():
  """As in published training: gate and reads get gradients although the values are from an earlier chunk."""
  _, gradient = gradients(toy.config(toy.small('continuous', gate=True), num_layers=1), size=1)
  for name, leaf in gradient['blocks'][0]['memory'].items():
    assert all(np.abs(part).max() > 1e-6 for part in jax.tree.leaves(leaf)), name


@pytest.mark.parametrize('name', ['even', pytest.param('most_used', marks=pytest.mark.slow)])
def test_rematerialization_does_not_change_the_gradients(name):
  config = toy.config(toy.MEMORIES[name], num_layers=1, dropout=0.1)
  kept, again = (gradients(dataclasses.replace(config, remat=remat), key=KEY) for remat in (False, True))
  assert toy.error(again, kept) < toy.TOLERANCE


@pytest.mark.parametrize('feed', ['normed', 'residual'])
def test_the_memory_is_fed_what_the_config_says(feed):
  """Two whole segments of a document, in the first layer, where the residual stream is the embeddings."""
  config = toy.config(toy.small('continuous', sampling='even', feed=feed), num_layers=1, short_term_length=0)
  graphdef, params = toy.build(config, spread=0.1)
  batch = toy.batch(documents=((3 * L,),), segments=3)
  model = transformer.merge(graphdef, params)
  block, x_bsld = model.blocks[0], model.embed(batch.tokens_bsl, jnp.arange(L))
  state = block.memory.init_state(1, x_bsld.dtype)
  for segment in range(2):
    x_bld = x_bsld[:, segment] if feed == 'residual' else block.attention_norm(x_bsld[:, segment])
    new_bnd = block.memory.new_part(state.writes_b, x_bld)
    state = block.memory.add_old_part(state, new_bnd, jnp.ones(1, bool), None)
  written = toy.run(graphdef, params, batch, size=3).state.blocks[0].memory
  assert toy.error(written.b_bnd, state.b_bnd) < toy.TOLERANCE


@pytest.mark.parametrize(('initial_output', 'same'), [('zero', True), ('published', False)])
def test_a_model_that_gets_a_memory_starts_as_the_model_without_it(initial_output, same):
  """Bit for bit; the parameters of the trunk are those of the model without a memory."""
  memory = toy.small('continuous', initial_output=initial_output, gate=True, feed='residual')
  batch, logits = toy.batch(), []
  for config in (toy.config(num_layers=1), toy.config(memory, num_layers=1)):
    graphdef, params = toy.build(config, spread=0.0)
    hidden_bsld = toy.run(graphdef, params, batch).hidden_bsld
    logits.append(bits(transformer.merge(graphdef, params).vocabulary.logits(hidden_bsld)[batch.ok_bsl]))
  assert np.array_equal(*logits) == same


def test_a_memory_with_a_zero_output_learns():
  """W_o gets a gradient at once, and the other parameters as soon as it is not zero."""
  config = toy.config(toy.small('continuous', initial_output='zero', gate=True, kl_weight=0.0), num_layers=1)
  graphdef, params = toy.build(config, spread=0.0)
  batch = toy.batch()
  weights_bsld = np.random.default_rng(0).normal(size=(*batch.ok_bsl.shape, config.d_model))
  weights_bsld *= batch.ok_bsl[..., None]

  @toy.quickly
  @jax.grad
  def gradient(memory):
    blocks = {0: params['blocks'][0] | {'memory': memory}}
    return (toy.stream(graphdef, params | {'blocks': blocks}, batch).hidden_bsld * weights_bsld).sum()

  memory = params['blocks'][0]['memory']
  for learned in ({'w_o_hkd'}, set(memory)):
    gradients = gradient(memory)
    assert learned == {name for name in memory if any(map(jnp.any, jax.tree.leaves(gradients[name])))}
    memory = jax.tree.map(lambda leaf, gradient: leaf - 0.1 * gradient, memory, gradients)


def test_a_scan_that_drops_lanes_is_rejected(monkeypatch):
  def scan(self, state, *args, **kwargs):
    return jax.tree.map(lambda leaf: leaf[:1], state), Read()

  monkeypatch.setattr(Recent, 'scan', scan)
  graphdef, params = toy.build(toy.config(toy.MEMORIES['recent']))
  model = transformer.merge(graphdef, params)
  with pytest.raises(AssertionError, match='shape prefix'):
    jax.eval_shape(lambda: model(toy.batch(), model.init_state(len(toy.DOCUMENTS))))
