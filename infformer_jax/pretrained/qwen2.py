"""Qwen2 and Qwen2.5 (Yang et al. 2024): `model_type` qwen2.

These are Llamas whose projections of queries, keys and values have biases, which no key of config.json says.
"""

from typing import Any

from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.llama import Llama
from infformer_jax.pretrained.settings import Settings


class Qwen2(Llama):
  """See the top of this file. A sliding window must be that of all layers."""

  model_type = 'qwen2'
  class_name = 'Qwen2ForCausalLM'

  def model_keys(self, settings: Settings) -> dict[str, Any]:
    biases = {'qkv_bias': True, 'attention_output_bias': False, 'feed_forward_bias': False}
    return self.common_keys(settings) | biases

  def settings(self, model: ModelConfig) -> dict[str, Any]:
    slides = model.window == 'sliding'
    return self.common_settings(model) | {
      'use_sliding_window': slides,
      'sliding_window': model.short_term_length if slides else None,
      'max_window_layers': 0 if slides else model.num_layers,
    }

  def reach(self, settings: Settings) -> int | None:
    if not settings.flag('use_sliding_window', False):
      return None
    layers = settings.integer('num_hidden_layers', 32)
    first = settings.get('max_window_layers', 28)
    if type(first) is not int:
      raise settings.refused('max_window_layers', 'an integer')
    usual = ['sliding_attention' if i >= first else 'full_attention' for i in range(layers)]
    kinds = settings.get('layer_types', usual)
    if kinds == ['full_attention'] * layers:
      return None
    if kinds == ['sliding_attention'] * layers:
      return settings.integer('sliding_window')  # No default: null means full attention in transformers.
    if 'layer_types' in settings:
      raise settings.refused('layer_types', f'{layers} equal types of attention')
    raise settings.refused('max_window_layers', f'0 or at least num_hidden_layers = {layers}')
