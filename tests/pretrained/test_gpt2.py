"""config.json of GPT-2."""

import numpy as np
import pytest

from infformer_jax.errors import UserError
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.architecture import keys
from infformer_jax.pretrained.gpt2 import GPT2
from infformer_jax.pretrained.settings import Settings

SMALL = {'n_embd': 768, 'n_head': 12, 'n_layer': 12, 'n_positions': 1024, 'n_ctx': 1024, 'vocab_size': 50257}


def model(**changes) -> ModelConfig:
  settings = Settings(SMALL | changes, 'config.json')
  return ModelConfig(segment_length=1024, short_term_length=0, **keys(GPT2(), settings))


def test_the_sizes_of_gpt2_small():
  config = model()
  assert (config.d_model, config.width_of_head, config.d_ff, config.num_positions) == (768, 64, 3072, 1024)
  assert (config.feed_forward, config.norm_epsilon, config.tie_embeddings) == ('gelu', 1e-5, True)
  assert config.positions == 'learned'
  changed = model(n_inner=100, activation_function='gelu', layer_norm_epsilon=1e-6, tie_word_embeddings=False)
  assert (changed.d_ff, changed.feed_forward, changed.norm_epsilon) == (100, 'gelu_erf', 1e-6)
  assert not changed.tie_embeddings


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'activation_function': 'gelu_fast'}, '= "gelu_fast" is not supported; .* "gelu_new"'),
    ({'add_cross_attention': True}, 'add_cross_attention = true is not supported'),
    ({'n_layer': '12'}, 'n_layer = "12" is not supported'),
    ({'scale_attn_weights': 1}, 'scale_attn_weights = 1 is not supported'),
  ],
)  # fmt: skip
def test_settings_without_an_equal_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    GPT2().scales(Settings(changes, 'config.json'), model(**changes))


def test_scores_that_are_scaled_otherwise_are_factors_of_the_queries():
  settings = Settings({'scale_attn_by_inverse_layer_idx': True, 'scale_attn_weights': False}, 'config.json')
  scales = GPT2().scales(settings, model())
  assert scales['blocks/0/attention/w_q/kernel'] == 8.0
  np.testing.assert_allclose(scales['blocks/2/attention/w_q/bias'], 8 / 3)
  assert len(scales) == 24
