"""The ∞-former in JAX and Flax: transformers with a continuous long-term memory of fixed cost.

    from infformer_jax import ContinuousConfig, Transformer, signal

gives classes by their names and the pure mathematics by its module. Importing the package imports neither jax
nor flax; they come with the first name that is asked for.
"""

# isort would repeat the module for every name.
# ruff: isort: skip_file

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Type checkers and editors read these; at run time the tables below have the same names.
  from infformer_jax.core import (
    arrays as arrays,
    attention as attention,
    attention_parts as attention_parts,
    attention_softmax as attention_softmax,
    attention_splash as attention_splash,
    attention_tiles as attention_tiles,
    basis as basis,
    basis_families as basis_families,
    capacity as capacity,
    compression as compression,
    density as density,
    gaussian_context as gaussian_context,
    gibbs as gibbs,
    initializers as initializers,
    located as located,
    losses as losses,
    nearest_neighbours as nearest_neighbours,
    normal as normal,
    placement as placement,
    positions as positions,
    quadrature as quadrature,
    read as read,
    ridge as ridge,
    rotary as rotary,
    signal as signal,
    signal_spec as signal_spec,
    sticky as sticky,
    time_axis as time_axis,
  )
  from infformer_jax.core.basis import Basis as Basis
  from infformer_jax.core.basis_families import (
    FourierBasis as FourierBasis,
    GaussianBasis as GaussianBasis,
    RectangularBasis as RectangularBasis,
  )
  from infformer_jax.core.density import (
    GaussianDensity as GaussianDensity,
    SparsemaxDensity as SparsemaxDensity,
  )
  from infformer_jax.core.gibbs import GibbsRead as GibbsRead
  from infformer_jax.core.located import LocatedRead as LocatedRead
  from infformer_jax.core.pytree import pytree as pytree
  from infformer_jax.core.read import ReadSpec as ReadSpec
  from infformer_jax.core.ridge import ridge_operator as ridge_operator, ridge_solve as ridge_solve
  from infformer_jax.core.rotary import RotaryScaling as RotaryScaling
  from infformer_jax.core.signal_spec import SignalSpec as SignalSpec
  from infformer_jax.errors import ConfigError as ConfigError, UserError as UserError
  from infformer_jax.experiment import Experiment as Experiment
  from infformer_jax.memory import registry as registry, views as views
  from infformer_jax.memory.base import Memory as Memory, Site as Site
  from infformer_jax.memory.compressive import (
    Compressive as Compressive,
    CompressiveConfig as CompressiveConfig,
  )
  from infformer_jax.memory.continuous import Continuous as Continuous
  from infformer_jax.memory.continuous_config import (
    PUBLISHED_GPT2 as PUBLISHED_GPT2,
    PUBLISHED_SORTING as PUBLISHED_SORTING,
    ContinuousConfig as ContinuousConfig,
  )
  from infformer_jax.memory.memory_config import MemoryConfig as MemoryConfig, Traits as Traits
  from infformer_jax.memory.neighbours import Neighbours as Neighbours, NeighboursConfig as NeighboursConfig
  from infformer_jax.memory.none import Nothing as Nothing, NothingConfig as NothingConfig
  from infformer_jax.memory.recent import Recent as Recent, RecentConfig as RecentConfig
  from infformer_jax.memory.stacked import Stacked as Stacked, StackedConfig as StackedConfig
  from infformer_jax.nn.model_config import ModelConfig as ModelConfig
  from infformer_jax.nn.transformer import (
    ModelState as ModelState,
    Output as Output,
    Transformer as Transformer,
  )
  from infformer_jax.trained_model import TrainedModel as TrainedModel
  from infformer_jax.types import (
    Batch as Batch,
    Gated as Gated,
    Past as Past,
    Read as Read,
    Segment as Segment,
    Slots as Slots,
  )

__version__ = '0.1.0'

_MODULES = {
  'core': (
    'arrays',
    'attention',
    'attention_parts',
    'attention_softmax',
    'attention_splash',
    'attention_tiles',
    'basis',
    'basis_families',
    'capacity',
    'compression',
    'density',
    'gaussian_context',
    'gibbs',
    'initializers',
    'located',
    'losses',
    'nearest_neighbours',
    'normal',
    'placement',
    'positions',
    'quadrature',
    'read',
    'ridge',
    'rotary',
    'signal',
    'signal_spec',
    'sticky',
    'time_axis',
  ),
  'memory': ('registry', 'views'),
}
_NAMES = {
  'core.basis': ('Basis',),
  'core.basis_families': ('FourierBasis', 'GaussianBasis', 'RectangularBasis'),
  'core.density': ('GaussianDensity', 'SparsemaxDensity'),
  'core.gibbs': ('GibbsRead',),
  'core.located': ('LocatedRead',),
  'core.pytree': ('pytree',),
  'core.read': ('ReadSpec',),
  'core.ridge': ('ridge_operator', 'ridge_solve'),
  'core.rotary': ('RotaryScaling',),
  'core.signal_spec': ('SignalSpec',),
  'errors': ('ConfigError', 'UserError'),
  'experiment': ('Experiment',),
  'memory.base': ('Memory', 'Site'),
  'memory.compressive': ('Compressive', 'CompressiveConfig'),
  'memory.continuous': ('Continuous',),
  'memory.continuous_config': ('PUBLISHED_GPT2', 'PUBLISHED_SORTING', 'ContinuousConfig'),
  'memory.memory_config': ('MemoryConfig', 'Traits'),
  'memory.neighbours': ('Neighbours', 'NeighboursConfig'),
  'memory.none': ('Nothing', 'NothingConfig'),
  'memory.recent': ('Recent', 'RecentConfig'),
  'memory.stacked': ('Stacked', 'StackedConfig'),
  'nn.model_config': ('ModelConfig',),
  'nn.transformer': ('ModelState', 'Output', 'Transformer'),
  'trained_model': ('TrainedModel',),
  'types': ('Batch', 'Gated', 'Past', 'Read', 'Segment', 'Slots'),
}
_HOMES = {name: home for home, names in {**_MODULES, **_NAMES}.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
  if name not in _HOMES:
    raise AttributeError(f"module 'infformer_jax' has no attribute '{name}'; it has {', '.join(__all__)}")
  home = f'infformer_jax.{_HOMES[name]}'
  if name in _MODULES.get(_HOMES[name], ()):
    return importlib.import_module(f'{home}.{name}')
  return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *__all__])
