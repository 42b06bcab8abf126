"""Token losses and hits equal those of the logits; the order of the random draws is unchanged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.nn import transformer
from infformer_jax.nn.vocabulary import Vocabulary
from tests import toy

READ_OUTS = {
  'tied': {},
  'separate': {'tie_embeddings': False, 'output_bias': True},
  'scaled': {'scale_embeddings': True},
}


@pytest.fixture(scope='module', params=READ_OUTS)
def vocabulary(request):
  """With a nonzero bias if the vocabulary has a bias."""
  graphdef, params = toy.build(toy.config(**READ_OUTS[request.param]), spread=0.2)
  return transformer.merge(graphdef, params).vocabulary


def test_losses_and_hits_equal_those_of_the_logits(vocabulary):
  hidden_bsld = jax.random.normal(jax.random.key(7), (1, 2, 3, 16), toy.DTYPE)
  logits = np.asarray(vocabulary.logits(hidden_bsld))
  targets_bsl = np.arange(6).reshape(1, 2, 3)
  targets_bsl[0, 1, 1] = likeliest = logits[0, 1, 1].argmax()
  log_p = np.asarray(jax.nn.log_softmax(logits))
  expected = -np.take_along_axis(log_p, targets_bsl[..., None], axis=-1)[..., 0]
  assert toy.error(toy.quickly(vocabulary.token_losses)(hidden_bsld, targets_bsl), expected) < toy.TOLERANCE
  losses_bsl, hits_bsl = toy.quickly(vocabulary.losses_and_hits)(hidden_bsld, targets_bsl)
  assert toy.error(losses_bsl, expected) < toy.TOLERANCE
  assert np.array_equal(hits_bsl, logits.argmax(-1) == targets_bsl)
  assert hits_bsl[0, 1, 1], likeliest


def test_logits_use_the_bias_and_the_separate_table(vocabulary):
  config = vocabulary.config
  hidden_td = jax.random.normal(jax.random.key(7), (3, 16), toy.DTYPE)
  table_vd = (vocabulary.embedding if config.tie_embeddings else vocabulary.unembedding).embedding[...]
  bias_1v = vocabulary.output_bias_v[...][None] if config.output_bias else 0
  assert toy.error(vocabulary.logits(hidden_td), hidden_td @ table_vd.T + bias_1v) < toy.TOLERANCE


def test_embeddings_are_rows_times_the_square_root_of_d_model(vocabulary):
  scale = 4 if vocabulary.config.scale_embeddings else 1  # √16
  tokens = jnp.array([[3, 0], [12, 3]])
  assert toy.error(vocabulary.embed(tokens), scale * vocabulary.embedding.embedding[...][tokens]) == 0


def test_bfloat16_hidden_states_have_float32_logits():
  vocabulary = Vocabulary(toy.config(compute_dtype='bfloat16', param_dtype='float32'), 5, rngs=nnx.Rngs(0))
  vocabulary.init_read_out(rngs=nnx.Rngs(1))
  assert vocabulary.embed(jnp.arange(5)).dtype == jnp.bfloat16
  assert vocabulary.logits(jnp.ones((2, 16), jnp.bfloat16)).dtype == jnp.float32


def test_the_embedding_is_the_first_draw_of_a_seed_and_the_output_table_the_last():
  """The initial parameters of a seed do not depend on the class that owns them."""
  rngs, config = nnx.Rngs(jax.random.key(0)), toy.config(tie_embeddings=False, num_layers=1)
  vocabulary = transformer.Transformer(config, toy.VOCABULARY, rngs=rngs).vocabulary
  last = int(rngs.default.count[...]) - 1
  draw = jax.jit(nnx.initializers.normal(0.02), static_argnums=(1, 2))
  for table, number in ((vocabulary.embedding, 0), (vocabulary.unembedding, last)):
    key = jax.random.fold_in(jax.random.key(0), number)
    expected = draw(key, (toy.VOCABULARY, config.d_model), toy.DTYPE)
    assert np.array_equal(table.embedding[...], expected)
