"""config.json of Qwen2: its biases have no key, and its sliding window several."""

import dataclasses

import pytest

from infformer_jax.errors import UserError
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.pretrained.qwen2 import Qwen2
from infformer_jax.pretrained.settings import Settings
from tests.pretrained import golden

FULL, SLIDING = 'full_attention', 'sliding_attention'


def reach(**changes):
  return Qwen2().reach(Settings({'num_hidden_layers': 2, 'sliding_window': 8} | changes, 'config.json'))


def test_the_window_slides_only_if_all_layers_say_so():
  assert reach(max_window_layers=0) is None
  assert reach(use_sliding_window=False, layer_types=[SLIDING] * 2) is None
  assert reach(use_sliding_window=True) is None  # From layer 28 on.
  assert reach(use_sliding_window=True, max_window_layers=0, layer_types=[FULL] * 2) is None
  assert reach(use_sliding_window=True, max_window_layers=0) == 8
  assert reach(use_sliding_window=True, layer_types=[SLIDING] * 2) == 8
  with pytest.raises(UserError, match='max_window_layers = 1 is not supported; it must be 0 or at least'):
    reach(use_sliding_window=True, max_window_layers=1)
  with pytest.raises(UserError, match='max_window_layers = "1" is not supported; it must be an integer'):
    reach(use_sliding_window=True, max_window_layers='1')
  with pytest.raises(UserError, match='has no sliding_window, which must be a positive integer'):
    reach(use_sliding_window=True, max_window_layers=0, sliding_window=None)  # All tokens in transformers.
  with pytest.raises(UserError, match=r'layer_types = \["full_attention", "sliding_attention"\] is not'):
    reach(use_sliding_window=True, layer_types=[FULL, SLIDING])


def test_the_window_is_written_as_it_is_read():
  checkpoint = Checkpoint(golden.FOLDER / golden.QWEN2)
  model = checkpoint.model_config(segment_length=8, short_term_length=8)
  assert (model.window, model.qkv_bias, model.attention_output_bias) == ('sliding', True, False)
  assert Qwen2().reach(Settings(Qwen2().settings(model), '')) == checkpoint.reach == 8
  model = dataclasses.replace(model, window='block')
  assert Qwen2().reach(Settings(Qwen2().settings(model), '')) is None
