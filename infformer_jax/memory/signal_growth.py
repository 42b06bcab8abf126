"""Refuses the settings of a continuous memory with which every write would make the old signal larger."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from infformer_jax.core import signal
from infformer_jax.core.signal_spec import SignalSpec
from infformer_jax.errors import ConfigError

if TYPE_CHECKING:
  from infformer_jax.memory.continuous_config import ContinuousConfig


def check(config: 'ContinuousConfig', spec: SignalSpec) -> None:
  """Raises ConfigError if even writes make the signal grow; computes eigenvalues only where they may.

  Args:
    config: of the memory.
    spec: its signal, for the segments of the model.
  """
  if spec.contraction == 'log':
    return _check_logarithmic(config, spec)
  # The share of [0, 1] that the new values get; with 'equal' the largest share, at the second write.
  share = 0.5 if isinstance(config.contraction, str) else 1 - config.contraction
  # Functions that extend over all of [0, 1]: too few new values leave some combinations undetermined, which
  # then change all of the old signal.
  length, num_basis = spec.segment_length, config.num_basis
  is_open = not spec.basis.localized and num_basis * share > length
  # Other large bases shrink the signal with every write.
  if not is_open and (num_basis > 32 or config.contraction == 'equal'):
    return
  if (growth := signal.growth(spec)) < 1:
    return
  which = 'the second' if config.contraction == 'equal' else 'every'
  times = f'{which} write would make the old signal {growth:.2f} times larger'
  if is_open:
    raise ConfigError(
      f"num_basis = {num_basis} must be smaller with basis = 'fourier' and the {length} new "
      f'values of model.segment_length, because {times}; '
      f"use num_basis = {max(1, int(length / share))}, or basis = 'gaussian'"
    )
  raise ConfigError(
    f'num_samples = {spec.num_samples} must be smaller with the {length} new values of '
    f'model.segment_length and num_basis = {num_basis}, because {times}; '
    f'use num_samples = {max(num_basis, length)}'
  )


def _check_logarithmic(config: 'ContinuousConfig', spec: SignalSpec) -> None:
  """Functions between the newest values, which these leave undetermined, can make the old signal grow."""
  newest = 1 - float(spec.axis.time(np.ones(1), 1)[0])
  dense = config.num_basis * newest < (1 if spec.basis.localized else 0.5)
  wide = config.width_unit == 'spacing' and min(config.widths) >= 0.75
  if config.num_basis > 128 and dense and wide:
    return
  if (growth := signal.growth(spec)) < 1:
    return
  length, groups = spec.segment_length, len(config.widths)
  per_width = config.num_basis // groups
  sizes = [groups * (per_width >> i) for i in range(per_width.bit_length())]
  smaller = [dataclasses.replace(config, num_basis=n, num_samples=max(2 * n, length)) for n in sizes]
  stable = [c for c in smaller if signal.growth(c.signal_spec(length)) < 1]
  remedies = [f'num_basis = {c.num_basis} and num_samples = {c.num_samples}, or ' for c in stable[:1]]
  raise ConfigError(
    f"num_basis = {config.num_basis} must be smaller or have fewer num_samples with contraction = 'log' and "
    f'the {length} new values of model.segment_length, because every write would make the old signal '
    f'{growth:.2f} times larger; use {"".join(remedies)}longer segments'
  )
