"""Llama 2 and 3 (Touvron et al. 2023; Dubey et al. 2024), SmolLM2 and others: `model_type` llama.

Linear layers are stored as [out, in]. Rotary positions turn the two halves of a head, as in the trunk.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from infformer_jax.core.rotary import RotaryScaling
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.architecture import Architecture, Row
from infformer_jax.pretrained.settings import Settings

_ATTENTION = {'q_proj': 'w_q', 'k_proj': 'w_k', 'v_proj': 'w_v', 'o_proj': 'w_o'}
_FEED_FORWARD = {'up_proj': 'w_in', 'gate_proj': 'w_gate', 'down_proj': 'w_out'}


class Llama(Architecture):
  """See the top of this file; `attention_bias` is about all four projections, `mlp_bias` about all three."""

  model_type = 'llama'
  class_name = 'LlamaForCausalLM'
  base = 'model.'
  buffers = (r'(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq',)  # In older files.

  def model_keys(self, settings: Settings) -> dict[str, Any]:
    bias = settings.flag('attention_bias', False)
    return self.common_keys(settings) | {
      'qkv_bias': bias,
      'attention_output_bias': bias,
      'feed_forward_bias': settings.flag('mlp_bias', False),
    }

  def common_keys(self, settings: Settings) -> dict[str, Any]:
    """The keys that architectures of this family share: all but the biases."""
    width, heads = settings.integer('hidden_size', 4096), settings.integer('num_attention_heads', 32)
    base, scaling = _rotary(settings)
    return {
      'd_model': width,
      'num_layers': settings.integer('num_hidden_layers', 32),
      'num_heads': heads,
      'num_kv_heads': settings.integer('num_key_value_heads', heads),
      'head_dim': settings.integer('head_dim', width // heads),
      'd_ff': settings.integer('intermediate_size'),
      'feed_forward': settings.choice('hidden_act', 'silu', {'silu': 'swiglu'}),
      'norm': 'rmsnorm',
      'norm_epsilon': settings.number('rms_norm_eps', 1e-6),
      'positions': 'rotary',
      'rotary_base': base,
      'rotary_scaling': scaling,
      'tie_embeddings': settings.flag('tie_word_embeddings', False),
    }

  def settings(self, model: ModelConfig) -> dict[str, Any]:
    return self.common_settings(model) | {
      'attention_bias': model.qkv_bias,
      'mlp_bias': model.biased_feed_forward,
    }

  def common_settings(self, model: ModelConfig) -> dict[str, Any]:
    """The inverse of `common_keys`; all versions of transformers read such keys of rotary positions."""
    scaling = model.rotary_scaling
    return {
      'hidden_size': model.d_model,
      'num_hidden_layers': model.num_layers,
      'num_attention_heads': model.num_heads,
      'num_key_value_heads': model.kv_heads,
      'head_dim': model.width_of_head,
      'intermediate_size': model.d_ff,
      'hidden_act': 'silu',
      'rms_norm_eps': model.norm_epsilon,
      'rope_theta': model.rotary_base,
      'rope_scaling': scaling and {'rope_type': 'llama3', **dataclasses.asdict(scaling)},
      'tie_word_embeddings': model.tie_embeddings,
    }

  def rows(self, model: ModelConfig) -> Iterator[Row]:
    yield Row('model.embed_tokens.weight', ('vocabulary/embedding/embedding',))
    for i in range(model.num_layers):
      theirs, ours = f'model.layers.{i}', f'blocks/{i}'
      yield Row(f'{theirs}.input_layernorm.weight', (f'{ours}/attention_norm/scale',))
      yield Row(f'{theirs}.post_attention_layernorm.weight', (f'{ours}/feed_forward_norm/scale',))
      for name, layer in _ATTENTION.items():
        bias = model.attention_output_bias if layer == 'w_o' else model.qkv_bias
        yield from _linear(f'{theirs}.self_attn.{name}', f'{ours}/attention/{layer}', bias=bias)
      for name, layer in _FEED_FORWARD.items():
        bias = model.biased_feed_forward
        yield from _linear(f'{theirs}.mlp.{name}', f'{ours}/feed_forward/{layer}', bias=bias)
    yield Row('model.norm.weight', ('final_norm/scale',))
    if not model.tie_embeddings:
      yield Row('lm_head.weight', ('vocabulary/unembedding/embedding',))


def _linear(theirs: str, ours: str, *, bias: bool) -> Iterator[Row]:
  yield Row(f'{theirs}.weight', (f'{ours}/kernel',), transposed=True)
  if bias:
    yield Row(f'{theirs}.bias', (f'{ours}/bias',))


def _rotary(settings: Settings) -> tuple[float, RotaryScaling | None]:
  """The base and the scaling: of `rope_parameters`, or in older files of `rope_theta` and `rope_scaling`."""
  rope = settings.section('rope_scaling' if 'rope_scaling' in settings else 'rope_parameters')
  settings.require('partial_rotary_factor', 1.0)
  rope.require('partial_rotary_factor', 1.0)
  base = rope.number('rope_theta', settings.number('rope_theta', 10_000.0))
  kind = rope.choice('rope_type' if 'rope_type' in rope else 'type', 'default', _ROPE_TYPES)
  if kind is None:
    return base, None
  return base, RotaryScaling(
    factor=rope.number('factor'),
    low_freq_factor=rope.number('low_freq_factor'),
    high_freq_factor=rope.number('high_freq_factor'),
    original_max_position_embeddings=rope.integer(
      'original_max_position_embeddings', settings.integer('max_position_embeddings', 2048)
    ),
  )


_ROPE_TYPES = {'default': None, 'llama3': 'llama3'}
