"""config.json of Llama 2, Llama 3.1 and SmolLM2, in the forms of older and newer files."""

import pytest

from infformer_jax.core.rotary import RotaryScaling
from infformer_jax.errors import UserError
from infformer_jax.pretrained.llama import Llama
from infformer_jax.pretrained.settings import Settings

SIZES = {'hidden_size': 64, 'num_attention_heads': 8, 'intermediate_size': 96, 'num_hidden_layers': 2}
RULE = {
  'factor': 8.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'original_max_position_embeddings': 8192,
}
SCALING = RotaryScaling(**RULE)


def keys(**changes):
  return Llama().model_keys(Settings(SIZES | changes, 'config.json'))


def test_defaults_are_those_of_llama_2():
  found = keys(num_key_value_heads=None, head_dim=None, rope_scaling=None, pretraining_tp=2)
  assert (found['num_kv_heads'], found['head_dim'], found['norm_epsilon']) == (8, 8, 1e-6)
  assert (found['rotary_base'], found['rotary_scaling']) == (10_000, None)
  assert (found['qkv_bias'], found['attention_output_bias'], found['tie_embeddings']) == (False, False, False)
  found = keys(attention_bias=True, mlp_bias=True, num_key_value_heads=2, head_dim=10)
  assert (found['num_kv_heads'], found['head_dim'], found['feed_forward_bias']) == (2, 10, True)
  assert found['qkv_bias'] is found['attention_output_bias'] is True


@pytest.mark.parametrize(
  'changes',
  [
    {'rope_parameters': {'rope_type': 'llama3', 'rope_theta': 5e5, **RULE}},
    {'rope_theta': 5e5, 'rope_scaling': {'rope_type': 'llama3', **RULE}},
    {'rope_theta': 500000, 'rope_scaling': {'type': 'llama3', **RULE}},
  ],
)
def test_rotary_positions_of_older_and_newer_files(changes):
  assert (found := keys(**changes))['rotary_scaling'] == SCALING
  assert found['rotary_base'] == 5e5


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'rope_scaling': {'type': 'linear'}}, r'rope_scaling\.type = "linear" is not .* "default" or "llama3"'),
    ({'rope_parameters': {'rope_type': 'yarn'}}, r'rope_parameters\.rope_type = "yarn" is not supported'),
    ({'rope_scaling': {'rope_type': 'llama3', 'factor': 8}}, r'has no rope_scaling\.low_freq_factor'),
    ({'partial_rotary_factor': 0.5}, r'partial_rotary_factor = 0\.5 is not supported'),
    ({'rope_parameters': {'partial_rotary_factor': 0.5}}, r'rope_parameters\.partial_rotary_factor = 0\.5'),
    ({'hidden_act': 'gelu'}, 'hidden_act = "gelu" is not supported; it must be "silu"'),
    ({'rms_norm_eps': -1}, 'rms_norm_eps = -1 is not supported'),
    ({'intermediate_size': None}, 'has no intermediate_size'),
  ],
)  # fmt: skip
def test_settings_without_an_equal_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    keys(**changes)
