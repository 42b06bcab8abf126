"""Published models by name: where they are on the hub, and what their config.json says about the model.

A config file has the sizes of a model without a network, and takes a checkpoint where there is one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from infformer_jax.hub import HUB
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained import registry
from infformer_jax.pretrained.architecture import keys
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.pretrained.settings import Settings


class Published(NamedTuple):
  """A model on the hub."""

  place: str  # as in hub.py
  config: Mapping[str, Any]  # the keys of its config.json that say what is computed


_SMOLLM2 = {
  'model_type': 'llama',
  'rms_norm_eps': 1e-5,
  'rope_theta': 100_000.0,
  'tie_word_embeddings': True,
  'vocab_size': 49_152,
}

MODELS = {
  'gpt2': Published(f'{HUB}openai-community/gpt2', {'model_type': 'gpt2', 'vocab_size': 50_257}),
  'smollm2_135m': Published(
    f'{HUB}HuggingFaceTB/SmolLM2-135M',
    _SMOLLM2
    | {
      'hidden_size': 576,
      'num_hidden_layers': 30,
      'num_attention_heads': 9,
      'num_key_value_heads': 3,
      'intermediate_size': 1536,
    },
  ),
  'smollm2_360m': Published(
    f'{HUB}HuggingFaceTB/SmolLM2-360M',
    _SMOLLM2
    | {
      'hidden_size': 960,
      'num_hidden_layers': 32,
      'num_attention_heads': 15,
      'num_key_value_heads': 5,
      'intermediate_size': 2560,
    },
  ),
  'llama32_1b': Published(
    f'{HUB}meta-llama/Llama-3.2-1B',
    {
      'model_type': 'llama',
      'hidden_size': 2048,
      'num_hidden_layers': 16,
      'num_attention_heads': 32,
      'num_key_value_heads': 8,
      'head_dim': 64,
      'intermediate_size': 8192,
      'rms_norm_eps': 1e-5,
      'rope_theta': 500_000.0,
      'rope_scaling': {
        'rope_type': 'llama3',
        'factor': 32.0,
        'low_freq_factor': 1.0,
        'high_freq_factor': 4.0,
        'original_max_position_embeddings': 8192,
      },
      'tie_word_embeddings': True,
      'vocab_size': 128_256,
    },
  ),
  'qwen2_05b': Published(
    f'{HUB}Qwen/Qwen2-0.5B',
    {
      'model_type': 'qwen2',
      'hidden_size': 896,
      'num_hidden_layers': 24,
      'num_attention_heads': 14,
      'num_key_value_heads': 2,
      'intermediate_size': 4864,
      'rms_norm_eps': 1e-6,
      'rope_theta': 1_000_000.0,
      'tie_word_embeddings': True,
      'vocab_size': 151_936,
    },
  ),
}


def model_config(config: Mapping[str, Any], checkpoint: str | None, **chosen: Any) -> ModelConfig:
  """The config of a model by a config.json.

  Args:
    config: the keys of a config.json.
    checkpoint: a directory as in hub.py, whose config.json counts instead; None: there is none.
    chosen: the keys of ModelConfig that no config.json determines (architecture.USERS_CHOICE).
  Raises:
    UserError: as `Checkpoint`.
    ConfigError: as `ModelConfig`.
  """
  if checkpoint is not None:
    return Checkpoint(checkpoint, 'checkpoint').model_config(**chosen)
  settings = Settings(config, 'config.json')
  return ModelConfig(**(keys(registry.architecture_of(settings), settings) | chosen))
