"""The model equals the plain loop of tests/reference over single documents, in values and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.rotary import RotaryScaling
from infformer_jax.memory.stacked import StackedConfig
from infformer_jax.nn import append_token, open_segment, transformer
from tests import reference, toy
from tests.nn.test_chunks import cases

TRUNKS = {
  'transformer_xl': {
    'norm_position': 'post',
    'final_norm': False,
    'feed_forward': 'relu',
    'scale_embeddings': True,
    'output_bias': True,
    'short_term_length': 2 * toy.LENGTH,
  },
  'llama': {
    'positions': 'rotary',
    'norm': 'rmsnorm',
    'feed_forward': 'swiglu',
    'tie_embeddings': False,
    'head_dim': 6,
    'norm_epsilon': 0.01,
    'rotary_base': 50.0,
    'rotary_scaling': RotaryScaling(
      factor=3.0, low_freq_factor=0.5, high_freq_factor=2.0, original_max_position_embeddings=20
    ),
    'feed_forward_bias': True,
  },
  'gpt2': {
    'positions': 'learned',
    'short_term_length': 0,
    'max_positions': 7,
    'feed_forward': 'gelu_erf',
    'memory': toy.small('continuous'),
  },
  'gpt2_window': {
    'positions': 'learned',
    'short_term_length': 2 * toy.LENGTH,
    'memory': toy.MEMORIES['stacked_neighbours'],
  },
  'gpt2_sliding': {'positions': 'learned', 'window': 'sliding', 'memory': toy.small('continuous')},
  'sliding_clamped': {
    'window': 'sliding',
    'clamp_length': 5,
    'short_term_length': 2 * toy.LENGTH,
    'memory': toy.small('recent', length=3 * toy.LENGTH),
  },
  'memorizing': {
    'positions': 't5',
    'window': 'past',
    'normalize_qk': True,
    'short_term_length': 5 * toy.LENGTH,
    'memory': toy.small('recent', length=3 * toy.LENGTH),
  },
  'sliding_most_used': {
    'window': 'sliding',
    'short_term_length': 2 * toy.LENGTH,
    'memory': toy.MEMORIES['most_used'],
  },
  'grouped': {
    'num_kv_heads': 2,
    'qkv_bias': True,
    'attention_output_bias': True,
    'memory': StackedConfig(first=toy.small('compressive'), second=toy.small('neighbours', source='evicted')),
  },
  'rotary_units': {'positions': 'rotary', 'normalize_qk': True, 'window': 'sliding'},
  'xl_units': {'normalize_qk': True, 'clamp_length': 3},
  'rotary_post': {'positions': 'rotary', 'norm_position': 'post', 'memory': toy.MEMORIES['recent_previous']},
}


def compare(config, *, size):
  """The largest errors over all documents, of hidden states and logits, and of auxiliary losses."""
  graphdef, params = toy.build(config)
  batch = toy.batch()
  output = toy.run(graphdef, params, batch, size=size)
  logits = transformer.merge(graphdef, params).vocabulary.logits(output.hidden_bsld)
  worst, aux = 0.0, np.zeros(2)
  for lane, mask in toy.documents_of(batch):
    expected = reference.run(config, params, batch.tokens_bsl[lane][mask])
    actual = output.hidden_bsld[lane][mask], logits[lane][mask]
    worst = max(worst, toy.error(actual, (expected.hidden_td, expected.logits_tv)))
    aux += expected.aux
  weighted = transformer.merge(graphdef, params).aux_weights()
  actual_aux = sum((jnp.stack(output.aux[name]) for name in weighted), jnp.zeros(2))
  return worst, toy.error(actual_aux, aux)


@pytest.mark.parametrize(('name', 'short'), cases(toy.MEMORIES))
def test_memories_equal_the_plain_loop(name, short):
  config = toy.config(toy.MEMORIES[name], short_term_length=short)
  assert max(compare(config, size=4)) < toy.TOLERANCE


@pytest.mark.parametrize('name', TRUNKS)
def test_trunks_equal_the_plain_loop(name):
  settings = {'memory': toy.MEMORIES['recent'], **TRUNKS[name]}
  assert max(compare(toy.config(**settings), size=4)) < toy.TOLERANCE


OPEN = ['stacked', 'stacked_neighbours', 'dilated', 'most_used', 'stacked_most_used', *TRUNKS]
OPEN += [pytest.param(name, marks=pytest.mark.slow) for name in ('equal', 'gibbs')]


@pytest.mark.parametrize('name', OPEN)
def test_open_segments_equal_the_plain_loop(name):
  """Token by token, with two documents in different phases: one lane pauses at every third step."""
  config = toy.config(**{'memory': toy.MEMORIES.get(name, toy.MEMORIES['stacked']), **TRUNKS.get(name, {})})
  graphdef, params = toy.build(config)
  go_tb = np.stack([np.ones(30, bool), np.arange(30) % 3 > 0], axis=1)
  tokens_tb = np.random.default_rng(0).integers(toy.VOCABULARY, size=go_tb.shape)

  @toy.quickly
  def logits():
    model = transformer.merge(graphdef, params)

    def step(opened, now):
      full_b = opened.tokens.count_b == toy.LENGTH
      opened = jax.lax.cond(full_b.any(), lambda: open_segment.renew(model, opened), lambda: opened)
      tokens = append_token.append(model, opened.prepared, opened.tokens, *now)
      logits_bv = model.vocabulary.logits(tokens.hidden_bd)
      return dataclasses.replace(opened, tokens=tokens), logits_bv

    opened = open_segment.open_segment(model, model.init_state(2), np.ones(2, bool))
    return jax.lax.scan(step, opened, (tokens_tb, go_tb))[1]

  logits_tbv = logits()
  for lane, go_t in enumerate(go_tb.T):
    expected = reference.run(config, params, tokens_tb[go_t, lane]).logits_tv
    assert toy.error(logits_tbv[go_t, lane], expected) < toy.TOLERANCE


@pytest.mark.parametrize(
  ('first', 'second'),
  [
    ('gate', 'recent'),
    pytest.param('fourier', 'gibbs_even', marks=pytest.mark.slow),
    pytest.param('rectangular_even', 'none', marks=pytest.mark.slow),
  ],
)
def test_gradients_equal_finite_differences_of_the_plain_loop(first, second):
  """Along a random direction of all parameters: window, slots, writes, gate and reads of one chunk."""
  memories = toy.MEMORIES | {
    'gibbs_even': dataclasses.replace(toy.MEMORIES['gibbs'], layers=None, sampling='even'),
    'rectangular_even': dataclasses.replace(toy.MEMORIES['rectangular'], sampling='even'),
  }
  config = toy.config(StackedConfig(first=memories[first], second=memories[second]))
  graphdef, params = toy.build(config)
  batch = toy.batch(documents=((48,),))
  rng = np.random.default_rng(0)
  weights_td = rng.normal(size=(48, config.d_model))
  direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)

  def loss(params):
    return (toy.stream(graphdef, params, batch).hidden_bsld.reshape(48, -1) * weights_td).sum()

  def slow_loss(step):
    moved = jax.tree.map(lambda leaf, along: leaf + step * along, params, direction)
    return (reference.run(config, moved, batch.tokens_bsl.ravel()).hidden_td * weights_td).sum()

  gradient = toy.quickly(jax.grad(loss))(params)
  slope = sum(jax.tree.leaves(jax.tree.map(lambda g, along: (g * along).sum(), gradient, direction)))
  step = 3e-6  # The error of the difference quotient is O(step²).
  assert slope == pytest.approx((slow_loss(step) - slow_loss(-step)) / (2 * step), rel=1e-6)
