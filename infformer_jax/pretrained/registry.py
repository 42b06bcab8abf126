"""The architectures of pretrained models. Another one is a file beside this one, and a line here."""

from infformer_jax.errors import ConfigError
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.architecture import Architecture, differences, keys
from infformer_jax.pretrained.gpt2 import GPT2
from infformer_jax.pretrained.llama import Llama
from infformer_jax.pretrained.qwen2 import Qwen2
from infformer_jax.pretrained.settings import Settings

ARCHITECTURES: tuple[Architecture, ...] = (GPT2(), Llama(), Qwen2())
"""Of several that can express a model, the first one is exported."""


def architecture_of(settings: Settings) -> Architecture:
  """The architecture of a config.json.

  Raises:
    UserError: it is none of these, or not a whole language model; names the key.
  """
  model_type = settings.get('model_type')  # A work directory has none; its config.json is not damaged.
  architecture = next((each for each in ARCHITECTURES if each.model_type == model_type), None)
  if architecture is None:
    raise settings.refused('model_type', f'one of {", ".join(each.model_type for each in ARCHITECTURES)}')
  settings.require('architectures', [architecture.class_name])
  settings.require('quantization_config')
  settings.require('auto_map')  # The model is a program of the checkpoint's own.
  return architecture


def architecture_for(model: ModelConfig) -> Architecture:
  """The architecture that has a model's trunk.

  Raises:
    ConfigError: none has; names a key of ModelConfig.
  """
  wrong = []
  for architecture in ARCHITECTURES:
    nearest = keys(architecture, Settings(architecture.settings(model), 'config.json'))
    different = differences(model, nearest)
    if not different:
      return architecture
    wrong.append((len(different), architecture, different[0]))
  _, architecture, (key, own, theirs) = min(wrong, key=lambda each: each[0])
  raise ConfigError(
    f'model.{key} = {own!r}: no architecture of pretrained models has such a trunk '
    f"(the nearest, '{architecture.model_type}', has {theirs!r})"
  )
