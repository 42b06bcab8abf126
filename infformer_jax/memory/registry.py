"""The kinds of memory: the built-in ones, and those that users register.

To add a built-in kind, add a file beside this one and a line here. A memory of your own needs no change of
the package: `register(MyConfig, MyMemory)` before a config names its kind.
"""

import dataclasses
import inspect

from flax import nnx

from infformer_jax.errors import ConfigError
from infformer_jax.memory.base import Memory, Site
from infformer_jax.memory.compressive import Compressive, CompressiveConfig
from infformer_jax.memory.continuous import Continuous
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.memory.neighbours import Neighbours, NeighboursConfig
from infformer_jax.memory.none import Nothing, NothingConfig
from infformer_jax.memory.recent import Recent, RecentConfig
from infformer_jax.memory.stacked import Stacked, StackedConfig

CONFIGS: dict[str, type[MemoryConfig]] = {}
"""By kind; `register` adds to it."""

_MEMORIES: dict[str, type[Memory]] = {}


def register(config: type[MemoryConfig], memory: type[Memory]) -> None:
  """Makes a kind of memory known to configs, training, evaluation, plots and generation.

  Args:
    config: a frozen, keyword-only dataclass; the default of its field `kind` names the kind.
    memory: is built as memory(config, site, rngs=rngs).
  Raises:
    ConfigError: these are not such classes, `kind` has no default, or another config has registered it.
  """
  if not (isinstance(config, type) and dataclasses.is_dataclass(config) and issubclass(config, MemoryConfig)):
    raise ConfigError(f'{config!r} must be a dataclass that extends MemoryConfig')
  if not (isinstance(memory, type) and issubclass(memory, Memory)) or inspect.isabstract(memory):
    raise ConfigError(f'{memory!r} must be a class that extends Memory and implements its abstract methods')
  kind = next(field.default for field in dataclasses.fields(config) if field.name == 'kind')
  if not (isinstance(kind, str) and kind):
    raise ConfigError(f"{config.__name__}.kind has no default; give it one, such as kind: str = 'mine'")
  known = CONFIGS.get(kind, config)
  # A config file that defines a memory creates new classes whenever it is read.
  if (known.__module__, known.__qualname__) != (config.__module__, config.__qualname__):
    raise ConfigError(f"{config.__name__}.kind = '{kind}' is the kind of {known.__name__}; use another")
  CONFIGS[kind], _MEMORIES[kind] = config, memory


def build(config: MemoryConfig, site: Site, *, rngs: nnx.Rngs) -> Memory:
  """The memory that `config.kind` names, with fresh parameters."""
  return _MEMORIES[config.kind](config, site, rngs=rngs)


register(NothingConfig, Nothing)
register(RecentConfig, Recent)
register(CompressiveConfig, Compressive)
register(NeighboursConfig, Neighbours)
register(ContinuousConfig, Continuous)
register(StackedConfig, Stacked)
