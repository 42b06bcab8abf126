"""What an architecture of pretrained models is. Read this file first.

A class per architecture says which `ModelConfig` a config.json means, and which parameters of the trunk its
tensors are. Another architecture is one file beside this one, and a line in registry.py.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.settings import Settings

USERS_CHOICE = (
  'segment_length',
  'short_term_length',
  'window',
  'stop_short_term_gradient',
  'dropout',
  'feed_forward_dropout',
  'attention_dropout',
  'remat',
  'compute_dtype',
  'param_dtype',
  'memory',
)
"""The keys of ModelConfig that no config.json determines; it determines all others."""

_USUAL = {
  'norm_position': 'pre',
  'final_norm': True,
  'clamp_length': None,
  'rotary_base': 10_000.0,
  'rotary_scaling': None,
  'max_positions': None,
  'normalize_qk': False,
  'scale_embeddings': False,
  'output_bias': False,
}

_RESOLVED = {
  'num_kv_heads': 'kv_heads',
  'head_dim': 'width_of_head',
  'feed_forward_bias': 'biased_feed_forward',
  'max_positions': 'num_positions',
}
"""Keys of ModelConfig that may be None, and the properties that have their values then."""


class Row(NamedTuple):
  """A row of the table of names: one tensor, and the parameters that are in it.

  The parameters, side by side along their last axis, are the tensor; or its transpose, where linear layers
  are stored as [out, in].
  """

  theirs: str
  ours: tuple[str, ...]
  transposed: bool = False


class Architecture(abc.ABC):
  """A kind of pretrained models, by `model_type` in their config.json.

  Attributes:
    model_type: its name.
    class_name: the class of transformers that has all of the parameters, as in `architectures`.
    base: what the names of its tensors begin with, except for the head's; files may lack it.
    buffers: regular expressions of the names of tensors that are no parameters, without `base`.
  """

  model_type: ClassVar[str]
  class_name: ClassVar[str]
  base: ClassVar[str]
  buffers: ClassVar[Sequence[str]] = ()

  @abc.abstractmethod
  def model_keys(self, settings: Settings) -> dict[str, Any]:
    """The keys of ModelConfig with their values, except for USERS_CHOICE and those that are as usual.

    Every key of `settings` that changes what the model computes is read here. All others are ignored, as the
    class in transformers ignores them.

    Raises:
      UserError: a value in `settings` has no equal here; names the key.
    """

  @abc.abstractmethod
  def settings(self, model: ModelConfig) -> dict[str, Any]:
    """The keys of config.json for a model: the nearest one that the architecture has."""

  @abc.abstractmethod
  def rows(self, model: ModelConfig) -> Iterator[Row]:
    """The table of names, for a model of this architecture; theirs with `base`."""

  def scales(self, settings: Settings, model: ModelConfig) -> dict[str, float]:
    """Factors by which parameters are multiplied when they are read, by the name of the parameter."""
    del settings, model
    return {}

  def reach(self, settings: Settings) -> int | None:
    """The tokens that a token sees, with itself, where that is a sliding window; None: all before it.

    Raises:
      UserError: it differs between layers.
    """
    del settings
    return None


def keys(architecture: Architecture, settings: Settings) -> dict[str, Any]:
  """All keys of ModelConfig that a config.json determines, with their values.

  Raises:
    UserError: as `Architecture.model_keys`.
  """
  own = architecture.model_keys(settings)
  return own | {key: value for key, value in _USUAL.items() if key not in own}


def differences(model: ModelConfig, expected: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
  """The keys of a model whose values are not the expected ones: (key, its value, the expected value)."""
  different = []
  for key, value in expected.items():
    own = getattr(model, key if value is None else _RESOLVED.get(key, key))
    if own != value:
      different.append((key, own, value))
  return different
