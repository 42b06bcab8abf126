"""The ∞-former in JAX and Flax: transformers with an unbounded, continuous long-term memory.

    from infformer_jax import ContinuousConfig, Transformer, signal

gives classes by their names and the pure mathematics by its module. Importing the package imports neither jax
nor flax; they come with the first name that is asked for.
"""

import importlib
from typing import Any

__version__ = '0.1.0'

_MODULES = {
  'core': (
    'arrays',
    'attention',
    'basis',
    'basis_families',
    'capacity',
    'compression',
    'density',
    'gaussian_context',
    'gibbs',
    'located',
    'losses',
    'nearest_neighbours',
    'normal',
    'positions',
    'quadrature',
    'read',
    'ridge',
    'signal',
    'signal_spec',
    'sticky',
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
