"""Capacity, and what is held by age, of the presets, computed exactly: about 3 minutes on one core.

python -m tests.benchmarks.capacity
python -m tests.benchmarks.capacity docs  # also draws held_by_age.png there
"""

import argparse
import pathlib

import numpy as np

from infformer_jax.core import capacity
from infformer_jax.core.signal_spec import SignalSpec
from infformer_jax.memory.continuous_config import PUBLISHED_GPT2, PUBLISHED_SORTING, ContinuousConfig
from tests.benchmarks.plots import held_by_age

AGES = 64 * 2.0 ** (np.arange(57) / 4)
PRINTED = slice(0, 56, 8)
LONGEST = 16_384
"""Tokens, for contraction 'equal': its curve is that of one document, and each of its writes is solved."""


def presets() -> dict[str, SignalSpec]:
  """{name: spec} of the published settings, and of our settings for several sizes."""
  specs = {
    'sorting (published)': PUBLISHED_SORTING.signal_spec(1024),
    'GPT-2 (published)': PUBLISHED_GPT2.signal_spec(512),
  }
  for contraction in (0.5, 0.75):
    for num_basis in (64, 128, 256, 512, 1024):
      ours = ContinuousConfig(num_basis=num_basis, contraction=contraction)
      specs[f'ours, τ {contraction}'.ljust(19) + f' n {num_basis}'] = ours.signal_spec(512)
  return specs | logarithmic()


def logarithmic() -> dict[str, SignalSpec]:
  """{name: spec} of our settings with a logarithmic axis."""
  specs = {}
  for num_basis, scale in ((256, 64.0), (512, 128.0)):
    ours = ContinuousConfig(num_basis=num_basis, contraction='log', num_samples=1024, scale=scale)
    specs[f'log, n {num_basis}, scale {scale:.0f}'] = ours.signal_spec(512)
  small = ContinuousConfig(num_basis=64, contraction='log', num_samples=128, horizon=16_384.0, scale=16.0)
  return specs | {'log, n 64, l 64, horizon 16,384, scale 16': small.signal_spec(64)}


def by_age() -> dict[str, SignalSpec]:
  """{name: spec} of the settings whose curves are compared."""
  specs = {
    'sorting (published)': PUBLISHED_SORTING.signal_spec(1024),
    'GPT-2 (published)': PUBLISHED_GPT2.signal_spec(512),
  }
  for contraction in (0.5, 0.75, 0.95, 'equal'):
    ours = ContinuousConfig(num_basis=256, contraction=contraction, sampling='even')
    specs[f'τ {contraction}, n 256'.replace('τ equal', 'equal')] = ours.signal_spec(512)
  return specs | logarithmic()


DRAWN = {
  'equal, n 256': 'equal, document of 15k',
  'τ 0.5, n 256': 'τ .5',
  'τ 0.75, n 256': 'τ .75',
  'τ 0.95, n 256': 'τ .95',
  'log, n 256, scale 64': 'log, horizon 1,000,000, scale 64',
}


def print_curves() -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Prints what is held at some ages; returns {name: (ages, R²)} with all of them."""
  print(
    'R² of the mean over 10 % of an age, by age in tokens, and the age from which on it is below one half'
  )
  print(f'{"":<42}' + ''.join(f'{age:>9,.0f}' for age in AGES[PRINTED]) + f'{"horizon":>11}')
  curves = {}
  for name, spec in by_age().items():
    ages_a = AGES[AGES * (1 + capacity.BLOCK / 2) <= LONGEST] if spec.contraction == 'equal' else AGES
    held_a = capacity.curve(spec, ages_a)
    curves[name] = ages_a, held_a
    figures = ''.join(f'{held:>9.3f}' for held in held_a[PRINTED])
    horizon = '' if spec.contraction == 'equal' else f'{capacity.horizon(spec):>11,.0f}'
    print(f'{name:<42}{figures}{horizon}', flush=True)
  return curves


def print_capacities() -> None:
  """Prints the other measures of the presets; contraction 'equal' has no stationary state, and thus none."""
  print(f'\n{"preset":<42} {"n":>5} {"capacity":>9} {"per n":>6} {"effective rank":>15} {"half-life":>10}')
  for name, spec in presets().items():
    n, half_life = spec.basis.num_basis, capacity.half_life(spec)
    held, rank = capacity.capacity(spec), capacity.effective_rank(spec)
    print(f'{name:<42} {n:>5} {held:>9.1f} {held / n:>6.3f} {rank:>15.1f} {half_life:>10}', flush=True)


def main() -> None:
  parser = argparse.ArgumentParser(description='Capacity, and what is held by age, of the presets.')
  parser.add_argument('folder', type=pathlib.Path, nargs='?', help='for the picture of what is held by age')
  folder = parser.parse_args().folder
  curves = print_curves()
  if folder is not None:
    held_by_age(folder / 'held_by_age.png', {label: curves[name] for name, label in DRAWN.items()})
  print_capacities()


if __name__ == '__main__':
  main()
