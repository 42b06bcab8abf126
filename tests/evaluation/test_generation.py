"""Generation token by token equals the forward pass over the document; sampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.errors import ConfigError
from infformer_jax.evaluation.generation import Generator, Sampling, sample
from infformer_jax.train import sharding
from infformer_jax.train.exits import NotFiniteModelError
from tests import toy

BOS = 0
PROMPTS = [np.arange(1, 1 + size) % toy.VOCABULARY for size in (21, 0, 7, 12)]
"""A text that ends within a segment, only BOS, an input that fills a segment, and one token more."""

MODELS = {
  name: toy.config(toy.MEMORIES[name], **changes)
  for name, changes in {
    'none': {'positions': 'learned', 'short_term_length': 2 * toy.LENGTH},
    'edges': {'positions': 'rotary', 'short_term_length': 2 * toy.LENGTH},
    'neighbours_evicted': {'positions': 't5', 'window': 'past', 'normalize_qk': True},
    'most_used': {},
    'log_renormalized': {'positions': 'rotary'},
    'stacked': {'positions': 'xl', 'norm_position': 'post'},
  }.items()
}


def forward(trained, documents):
  """Logits of the last input of every document, from a forward pass over the whole document."""
  inputs = [np.concatenate([[BOS], document]) for document in documents]
  batch = toy.batch([(len(ids),) for ids in inputs])
  for lane, ids in enumerate(inputs):
    batch.tokens_bsl[lane][batch.ok_bsl[lane]] = ids
  hidden_bsld = toy.run(trained.graphdef, trained.params, batch).hidden_bsld
  ends = [(lane, *divmod(len(ids) - 1, toy.LENGTH)) for lane, ids in enumerate(inputs)]
  return trained.model().vocabulary.logits(jnp.stack([hidden_bsld[end] for end in ends]))


@pytest.fixture(scope='module')
def generators():
  """A function from a name to (generator, model), which are compiled once for all tests."""

  @functools.cache
  def generator_of(name):
    trained = toy.trained(MODELS[name], spread=0.1)
    return Generator(trained, bos_id=BOS, segments_per_chunk=2), trained

  return generator_of


SLOW = 'neighbours_evicted', 'log_renormalized', 'stacked', 'edges', 'most_used'


@pytest.mark.parametrize(
  'name', [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in MODELS]
)
def test_generation_equals_the_forward_pass(name, generators):
  generator, trained = generators(name)
  logits_bv, opened = generator.read(PROMPTS)
  assert toy.error(logits_bv, forward(trained, PROMPTS)) < toy.TOLERANCE

  steps = 2 * toy.LENGTH + 1
  greedy = Sampling(temperature=0)
  written_tb = np.array(list(generator.generate(logits_bv, opened, steps, greedy, jax.random.key(0))))
  documents = [np.concatenate([prompt, written_tb[:, row]]) for row, prompt in enumerate(PROMPTS)]
  for back in (1, toy.LENGTH, steps - 1):
    before = [document[: len(document) - back] for document in documents]
    expected = forward(trained, before).argmax(axis=-1)
    np.testing.assert_array_equal(expected, written_tb[steps - back])


@pytest.mark.skipif(toy.WIDE, reason='casts float32 to bfloat16')
def test_parameters_are_cast_to_the_dtype_in_which_they_are_used_without_any_effect():
  config = toy.config(toy.MEMORIES['gate'], num_layers=1, compute_dtype='bfloat16', param_dtype='float32')
  trained = toy.trained(config, spread=0.1)
  generator = Generator(trained, bos_id=BOS)
  wide = {
    sharding.name(path)
    for path, leaf in jax.tree.leaves_with_path(generator.params)
    if leaf.dtype != jnp.bfloat16
  }
  assert 'blocks/0/attention_norm/scale' in wide
  assert 'blocks/0/memory/w_v_dhk' in wide
  assert not [each for each in wide if 'kernel' in each and 'gate' not in each]
  prompt = np.array([1, 2])
  logits_bv, _ = generator.read([prompt])
  generator.params = trained.params
  np.testing.assert_array_equal(generator.read([prompt])[0], logits_bv)


def test_a_prompt_is_read_independently_of_the_others(generators):
  generator, _ = generators('edges')
  logits_bv, _ = generator.read(PROMPTS)
  others = [PROMPTS[0], PROMPTS[3], PROMPTS[2], np.zeros(17, np.int32)]
  beside_bv, _ = generator.read(others)
  assert toy.error(beside_bv[0], logits_bv[0]) < toy.TOLERANCE
  assert toy.error(beside_bv[1], logits_bv[3]) < toy.TOLERANCE


def frequencies(sampling, logits=(0.0, 1.0, 2.0, 3.0), draws=4000):
  logits_bv = jnp.broadcast_to(jnp.asarray(logits), (draws, len(logits)))
  drawn_b = sample(logits_bv, sampling, jax.random.key(0))
  return np.bincount(drawn_b, minlength=len(logits)) / draws


def test_sampling_follows_the_probabilities_at_the_temperature():
  expected = np.exp(np.arange(4) / 2)
  np.testing.assert_allclose(frequencies(Sampling(temperature=2.0)), expected / expected.sum(), atol=0.03)


def test_greedy_sampling_takes_the_most_likely_token():
  assert frequencies(Sampling(temperature=0))[3] == 1


def test_top_k_keeps_the_k_most_likely_tokens():
  expected = np.exp([2.0, 3.0])
  found = frequencies(Sampling(top_k=2))
  assert found[:2].sum() == 0
  np.testing.assert_allclose(found[2:], expected / expected.sum(), atol=0.03)


def test_top_p_keeps_the_most_likely_tokens_until_their_mass_reaches_p():
  # The probabilities are .032, .087, .237, .644.
  assert frequencies(Sampling(top_p=0.6)).tolist() == [0, 0, 0, 1]
  assert (frequencies(Sampling(top_p=0.65)) > 0).tolist() == [False, False, True, True]
  assert (frequencies(Sampling(top_p=1.0)) > 0).all()


@pytest.mark.parametrize('temperature', [1e-300, 1e-45])
def test_a_temperature_that_float32_cannot_represent_is_greedy(temperature):
  assert frequencies(Sampling(temperature=temperature))[3] == 1


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    *(('temperature', value) for value in (-1.0, float('inf'), float('nan'))),
    *(('top_k', value) for value in (0, 2**40)),
    *(('top_p', value) for value in (0.0, 1.5, float('nan'))),
  ],
)
def test_invalid_sampling_settings_are_errors_with_their_value(name, value):
  with pytest.raises(ConfigError, match=f'{name} = {value} must be'):
    Sampling(**{name: value})


def test_values_that_are_not_finite_stop_the_generation_before_a_token_is_chosen_from_them(generators):
  """The embedding of one token is not finite."""
  generator, trained = generators('most_used')
  greedy = Sampling(temperature=0)

  def poisoned(token):
    params = jax.tree.map(lambda leaf: leaf, trained.params)
    table = params['vocabulary']['embedding']['embedding']
    params['vocabulary']['embedding']['embedding'] = table.at[token].set(jnp.inf)
    return params

  logits_bv, opened = generator.read([PROMPTS[2]])
  own, generator.params = generator.params, poisoned(12)
  try:
    for size in (2 * toy.LENGTH, toy.LENGTH - 1):  # In whole segments, and in one that is full at the end.
      with pytest.raises(NotFiniteModelError, match=r'of vocabulary/embedding are .* in the prompt'):
        generator.read([np.full(size, 12)])
    tokens = generator.generate(logits_bv.at[0, 12].set(jnp.inf), opened, 5, greedy, jax.random.key(0))
    assert next(tokens).tolist() == [12]
    with pytest.raises(NotFiniteModelError, match='after 1 generated tokens'):
      next(tokens)
  finally:
    generator.params = own
