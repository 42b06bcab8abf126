"""What a write of the continuous signal depends on: its settings, and the times of its values.

Times are in units of the whole signal: 0 is the oldest, 1 the newest.

Source: ∞-former, section 3.2; published code: long_term_attention.py (`value_function`).
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from infformer_jax.core.basis import MOST_FUNCTIONS, Basis
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.time_axis import Geometric, Logarithmic, TimeAxis, Uniform
from infformer_jax.errors import ConfigError, check_range

HORIZON = 1_000_000.0
"""Tokens; the default of a logarithmic contraction."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignalSpec:
  """Everything that the constants of a write depend on.

  signal_positions: 'plain' puts the first l values at (1..l)/l; 'padded', as published, at the cell centres
  (i + .5)/l, with a regression to zero at as many positions outside [0, 1], up to -.5 and 1.5.

  Raises:
    ConfigError: a value outside its range.
  """

  basis: Basis
  segment_length: int  # l, values per write
  num_samples: int  # P, samples of the old signal per write
  # How a write moves the past (core/time_axis.py). A number τ squeezes the old signal into [0, τ]; 'equal': τ
  # is k/(k+1) after k writes; 'log': the past is on a logarithmic axis of age.
  contraction: float | Literal['equal', 'log']
  ridge: float  # λ
  horizon: float | None = None  # H of 'log', tokens: what is older is dropped; None: HORIZON
  # a0 of 'log', tokens: all octaves beyond have the same share. None: n/4, where the functions are about as
  # far apart at the newest end as the tokens.
  scale: float | None = None
  signal_positions: Literal['plain', 'padded'] = 'plain'

  def __post_init__(self) -> None:
    if not isinstance(self.contraction, str) and not 0 < self.contraction < 1:
      raise ConfigError(
        f"contraction = {self.contraction!r} must be in (0, 1), such as 0.75, or 'equal', or 'log'"
      )
    if self.ridge <= 0:
      raise ConfigError(f'ridge = {self.ridge} must be positive, such as 0.5')
    check_range('num_samples', self.num_samples, 1, MOST_FUNCTIONS)
    check_range('segment_length', self.segment_length, 1)
    if self.signal_positions not in ('plain', 'padded'):
      raise ConfigError(f"signal_positions = {self.signal_positions!r} must be 'plain' or 'padded'")
    self._check_axis()
    if self.signal_positions == 'padded' and (
      isinstance(self.contraction, str) or not isinstance(self.basis, GaussianBasis)
    ):
      raise ConfigError(
        "signal_positions = 'padded' must be 'plain' unless basis = 'gaussian' and contraction is a number"
      )

  def _check_axis(self) -> None:
    if self.contraction not in ('equal', 'log') and isinstance(self.contraction, str):
      raise ConfigError(
        f"contraction = {self.contraction!r} must be 'equal', 'log', or a number such as 0.75"
      )
    for key in ('horizon', 'scale'):
      value = getattr(self, key)
      if value is not None and self.contraction != 'log':
        raise ConfigError(
          f"{key} = {value} must be None with contraction = {self.contraction!r}; or use 'log'"
        )
    if self.horizon is not None and not 2 * self.segment_length <= self.horizon <= 1e15:
      raise ConfigError(
        f'horizon = {self.horizon} must be a number of tokens, at least two segments, such as {HORIZON:.0f}, '
        'and at most 1e15'
      )
    if self.scale is not None and not 1e-3 <= self.scale <= 1e15:  # Both are the ends of few octaves.
      raise ConfigError(
        f'scale = {self.scale} must be a number of tokens in [0.001, 1e15], such as '
        f'{self.basis.num_basis / 4:g}'
      )

  @property
  def axis(self) -> TimeAxis:
    """Where tokens are in [0, 1]."""
    length = self.segment_length
    if self.contraction == 'equal':
      return Uniform(segment_length=length)
    if self.contraction == 'log':
      horizon = HORIZON if self.horizon is None else self.horizon
      scale = self.basis.num_basis / 4 if self.scale is None else self.scale
      return Logarithmic(segment_length=length, horizon=horizon, scale=scale)
    return Geometric(segment_length=length, contraction=self.contraction)


def even_points(num_samples: int) -> Float[np.ndarray, '{num_samples}']:
  """(1..P)/P: where the even update samples the old signal."""
  return np.arange(1, num_samples + 1) / num_samples


def held_samples(spec: SignalSpec) -> Bool[np.ndarray, 'p']:
  """Which of the P samples of the old signal a write keeps: those that it does not move beyond 0."""
  return np.asarray(spec.axis.moved(even_points(spec.num_samples), 1) > 0)


def first_times(spec: SignalSpec) -> tuple[Float[np.ndarray, 't'], slice]:
  """All positions of a first write, in order, and which are those of the l values; the others are zeros."""
  length = spec.segment_length
  if spec.contraction == 'log':  # The update of an empty signal.
    times, _ = later_times(spec)
    return times, slice(len(times) - length, None)
  if spec.signal_positions == 'plain':
    return even_points(length), slice(None)
  pad = length // 2
  return (np.arange(-pad, length + pad) + 0.5) / length, slice(pad, pad + length)


def later_times(spec: SignalSpec, writes: int = 1) -> tuple[Float[np.ndarray, 't'], slice]:
  """All positions of the write after `writes` others, and which are those of values.

  The values are the samples that the write keeps (`held_samples`), then the l new ones; the others are zeros.
  """
  moved = spec.axis.moved(even_points(spec.num_samples), writes)
  times = np.concatenate([moved[held_samples(spec)], spec.axis.new_times(writes)])
  if spec.signal_positions == 'plain':
    return times, slice(None)
  # As published: l + P cells from -.5 to 1.5, whose centres an even l misses by a little.
  length, count = spec.segment_length, spec.segment_length + spec.num_samples
  shift = 1 / count if length % 2 else 1 / (length + count)
  padding = np.linspace(-0.5 + shift, 1.5 - shift, 2 * count - length % 2)
  below, above = padding[padding < 0], padding[padding > 1]
  return np.concatenate([below, times, above]), slice(len(below), len(below) + count)
