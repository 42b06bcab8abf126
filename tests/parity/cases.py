"""Models of random weights, as transformers writes them; needs the extra `parity`."""

import pathlib

import numpy as np
import torch
import transformers
from transformers import (
  GPT2Config,
  GPT2LMHeadModel,
  LlamaConfig,
  LlamaForCausalLM,
  Qwen2Config,
  Qwen2ForCausalLM,
)

VOCABULARY = 67

GPT2_SIZES = {'n_positions': 40, 'n_embd': 24, 'n_layer': 3, 'n_head': 3}
LLAMA_SIZES = {
  'hidden_size': 24,
  'intermediate_size': 40,
  'num_hidden_layers': 2,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
}
LLAMA3 = {
  'rope_type': 'llama3',
  'rope_theta': 500_000.0,
  'factor': 8.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'original_max_position_embeddings': 16,
}
SMOLLM2 = {'hidden_size': 36, 'num_attention_heads': 9, 'num_key_value_heads': 3, 'rms_norm_eps': 1e-5}
SLIDING = {'use_sliding_window': True, 'sliding_window': 8, 'max_window_layers': 0}


def rope(theta: float) -> dict:
  return {'rope_type': 'default', 'rope_theta': theta}


CASES = {
  'gpt2': (GPT2Config, {}),
  'gpt2_by_layer': (GPT2Config, {'scale_attn_by_inverse_layer_idx': True, 'reorder_and_upcast_attn': True}),
  'gpt2_unscaled': (GPT2Config, {'scale_attn_weights': False, 'layer_norm_epsilon': 1e-3}),
  'gpt2_erf': (GPT2Config, {'activation_function': 'gelu', 'n_inner': 30}),
  'gpt2_untied': (GPT2Config, {'activation_function': 'relu', 'tie_word_embeddings': False}),
  'llama': (LlamaConfig, {'num_key_value_heads': 4}),
  'llama_tied': (LlamaConfig, {'tie_word_embeddings': True, 'rms_norm_eps': 1e-3}),
  'llama_head_dim': (LlamaConfig, {'head_dim': 10, 'num_key_value_heads': 1}),
  'llama_biases': (LlamaConfig, {'attention_bias': True, 'mlp_bias': True}),
  'llama3': (LlamaConfig, {'rope_parameters': LLAMA3}),
  'smollm2': (LlamaConfig, {'tie_word_embeddings': True, 'rope_parameters': rope(1e5), **SMOLLM2}),
  'qwen2': (Qwen2Config, {'rope_parameters': rope(1e6)}),
  'qwen2_sliding': (Qwen2Config, {'tie_word_embeddings': True, **SLIDING}),
}  # fmt: skip

_CLASSES = {GPT2Config: GPT2LMHeadModel, LlamaConfig: LlamaForCausalLM, Qwen2Config: Qwen2ForCausalLM}


def write(folder: pathlib.Path, name: str, **more) -> torch.nn.Module:
  """Writes a model of random weights, also of biases and scales, into a folder, and returns it."""
  cls, changes = CASES[name]
  sizes = GPT2_SIZES if cls is GPT2Config else LLAMA_SIZES
  ids = {'vocab_size': VOCABULARY, 'bos_token_id': 0, 'eos_token_id': 1}
  config = cls(**{**ids, **sizes, **changes, **more})
  config._attn_implementation = 'eager'
  torch.manual_seed(0)
  model = _CLASSES[cls](config).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      noise = torch.randn_like(parameter)
      parameter.copy_(0.3 * noise if parameter.ndim > 1 else parameter + 0.2 * noise)
  transformers.utils.logging.disable_progress_bar()
  model.save_pretrained(folder)
  return model


def ids(rows: int, size: int) -> np.ndarray:
  """Random ids, the same in every call."""
  return np.random.default_rng(0).integers(VOCABULARY, size=(rows, size))


def logits(model: torch.nn.Module, ids_bt: np.ndarray) -> np.ndarray:
  """The logits of transformers."""
  with torch.no_grad():
    return model(torch.tensor(ids_bt)).logits.float().numpy()
