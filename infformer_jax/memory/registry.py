"""The kinds of memory. To add one: a file beside this one, and a line here."""

from flax import nnx

from infformer_jax.memory.base import Memory, MemoryConfig, Site
from infformer_jax.memory.compressive import Compressive, CompressiveConfig
from infformer_jax.memory.continuous import Continuous
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.neighbours import Neighbours, NeighboursConfig
from infformer_jax.memory.none import Nothing, NothingConfig
from infformer_jax.memory.recent import Recent, RecentConfig
from infformer_jax.memory.stacked import Stacked, StackedConfig

REGISTRY: dict[str, tuple[type[MemoryConfig], type[Memory]]] = {
  'none': (NothingConfig, Nothing),
  'recent': (RecentConfig, Recent),
  'compressive': (CompressiveConfig, Compressive),
  'neighbours': (NeighboursConfig, Neighbours),
  'continuous': (ContinuousConfig, Continuous),
  'stacked': (StackedConfig, Stacked),
}
CONFIGS = {kind: config for kind, (config, _) in REGISTRY.items()}


def build(config: MemoryConfig, site: Site, *, rngs: nnx.Rngs) -> Memory:
  """The memory that `config.kind` names, with fresh parameters."""
  return REGISTRY[config.kind][1](config, site, rngs=rngs)
