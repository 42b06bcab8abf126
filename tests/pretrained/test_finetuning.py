"""The published fine-tuning of GPT-2."""

import dataclasses
import json

import pytest

from infformer_jax.memory.continuous_config import PUBLISHED_GPT2
from infformer_jax.pretrained import finetuning


def test_the_published_memory_is_that_of_the_published_code():
  """Its KL term has the weight of the sum over layers, which is a mean here."""
  model = finetuning.model('published', 'small', None)
  assert model.memory == dataclasses.replace(PUBLISHED_GPT2, kl_weight=12e-6)
  assert (model.segment_length, model.short_term_length, model.num_layers) == (512, 0, 12)
  even = finetuning.model('published_even', 'small', None).memory
  assert even == dataclasses.replace(model.memory, sampling='even')


def test_our_memories_start_as_the_unchanged_model():
  for kind in finetuning.KINDS:
    if kind.startswith('continuous'):
      assert finetuning.model(kind, 'tiny', None).memory.initial_output == 'zero'


def test_without_a_memory_the_window_is_twice_as_long():
  model = finetuning.model('none', 'small', None)
  assert model.memory.kind == 'none'
  assert model.segment_length + model.short_term_length == model.num_positions == 1024


def test_a_checkpoint_determines_the_trunk(tmp_path):
  (tmp_path / 'config.json').write_text(
    json.dumps({'model_type': 'gpt2', 'vocab_size': 300, 'n_embd': 32, 'n_layer': 4, 'n_head': 2})
  )
  model = finetuning.model('published', 'tiny', str(tmp_path))
  assert (model.d_model, model.num_layers, model.num_positions) == (32, 4, 1024)
  assert model.segment_length == 64
  assert model.memory.kl_weight == pytest.approx(4e-6)
  assert finetuning.place('tiny', str(tmp_path)) == str(tmp_path)
  assert finetuning.place('small', None) == 'hf:openai-community/gpt2'
  assert finetuning.place('tiny', None) is None
