"""Models that are not of a known architecture are refused by the key of config.json that says so."""

import pytest

from infformer_jax.errors import UserError
from infformer_jax.pretrained import registry
from infformer_jax.pretrained.settings import Settings


def test_architectures_are_found_by_their_model_type():
  for architecture in registry.ARCHITECTURES:
    settings = {'model_type': architecture.model_type, 'architectures': [architecture.class_name]}
    assert registry.architecture_of(Settings(settings, 'config.json')) is architecture


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'model_type': 'gpt_neox'}, 'model_type = "gpt_neox" is not .* one of gpt2, llama, qwen2'),
    ({'model_type': None}, r'^config\.json has no model_type, which must be one of gpt2, llama, qwen2$'),
    ({'model_type': ['llama']}, r'model_type = \["llama"\] is not supported'),
    ({'architectures': ['GPT2ForTokens']}, r'architectures = \["GPT2ForTokens"\] .*\["GPT2LMHeadModel"\]'),
    ({'quantization_config': {'bits': 4}}, r'quantization_config = \{"bits": 4\} is .* must be null'),
    ({'auto_map': {}}, r'auto_map = \{\} is not supported'),
  ],
)  # fmt: skip
def test_other_models_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    registry.architecture_of(Settings({'model_type': 'gpt2'} | changes, 'config.json'))
