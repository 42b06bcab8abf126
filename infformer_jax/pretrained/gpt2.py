"""GPT-2 (Radford et al. 2019) and models of its architecture: `model_type` gpt2.

Linear layers are stored as [in, out], and the three projections of the attention side by side.
"""

import math
from collections.abc import Iterator
from typing import Any

from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.architecture import Architecture, Row
from infformer_jax.pretrained.settings import Settings

_ACTIVATIONS = {'gelu_new': 'gelu', 'gelu_pytorch_tanh': 'gelu', 'gelu': 'gelu_erf', 'relu': 'relu'}
_LAYERS = {
  'attn.c_attn': ('attention/w_q', 'attention/w_k', 'attention/w_v'),
  'attn.c_proj': ('attention/w_o',),
  'mlp.c_fc': ('feed_forward/w_in',),
  'mlp.c_proj': ('feed_forward/w_out',),
}


class GPT2(Architecture):
  """See the top of this file.

  `scale_attn_weights` = false and `scale_attn_by_inverse_layer_idx` become factors of W_q and its bias.
  `reorder_and_upcast_attn` only concerns the order and dtype of operations.
  """

  model_type = 'gpt2'
  class_name = 'GPT2LMHeadModel'
  base = 'transformer.'
  buffers = (r'h\.\d+\.attn\.(masked_)?bias',)  # The causal mask, in older files.

  def model_keys(self, settings: Settings) -> dict[str, Any]:
    settings.require('add_cross_attention', False)
    width, heads = settings.integer('n_embd', 768), settings.integer('n_head', 12)
    return {
      'd_model': width,
      'num_layers': settings.integer('n_layer', 12),
      'num_heads': heads,
      'num_kv_heads': heads,
      'head_dim': width // heads,
      'd_ff': settings.integer('n_inner', 4 * width),
      'feed_forward': settings.choice('activation_function', 'gelu_new', _ACTIVATIONS),
      'feed_forward_bias': True,
      'norm': 'layernorm',
      'norm_epsilon': settings.number('layer_norm_epsilon', 1e-5),
      'positions': 'learned',
      'max_positions': settings.integer('n_positions', 1024),
      'qkv_bias': True,
      'attention_output_bias': True,
      'tie_embeddings': settings.flag('tie_word_embeddings', True),
    }

  def settings(self, model: ModelConfig) -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    return {
      'n_embd': model.d_model,
      'n_layer': model.num_layers,
      'n_head': model.num_heads,
      'n_inner': model.d_ff,
      'activation_function': names.get(model.feed_forward, 'gelu_new'),
      'layer_norm_epsilon': model.norm_epsilon,
      'n_positions': model.num_positions,
      'tie_word_embeddings': model.tie_embeddings,
    }

  def rows(self, model: ModelConfig) -> Iterator[Row]:
    yield Row('transformer.wte.weight', ('vocabulary/embedding/embedding',))
    yield Row('transformer.wpe.weight', ('position_embedding/embedding',))
    for i in range(model.num_layers):
      theirs, ours = f'transformer.h.{i}', f'blocks/{i}'
      yield from _norm(f'{theirs}.ln_1', f'{ours}/attention_norm')
      yield from _norm(f'{theirs}.ln_2', f'{ours}/feed_forward_norm')
      for name, layers in _LAYERS.items():
        yield Row(f'{theirs}.{name}.weight', tuple(f'{ours}/{layer}/kernel' for layer in layers))
        yield Row(f'{theirs}.{name}.bias', tuple(f'{ours}/{layer}/bias' for layer in layers))
    yield from _norm('transformer.ln_f', 'final_norm')
    if not model.tie_embeddings:
      yield Row('lm_head.weight', ('vocabulary/unembedding/embedding',))

  def scales(self, settings: Settings, model: ModelConfig) -> dict[str, float]:
    scale = 1.0 if settings.flag('scale_attn_weights', True) else math.sqrt(model.width_of_head)
    by_layer = settings.flag('scale_attn_by_inverse_layer_idx', False)
    return {
      f'blocks/{i}/attention/w_q/{part}': scale / (i + 1 if by_layer else 1)
      for i in range(model.num_layers)
      for part in ('kernel', 'bias')
    }


def _norm(theirs: str, ours: str) -> Iterator[Row]:
  yield Row(f'{theirs}.weight', (f'{ours}/scale',))
  yield Row(f'{theirs}.bias', (f'{ours}/bias',))
