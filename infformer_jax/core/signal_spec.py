"""What a write of the continuous signal depends on: its settings, and the times of its values.

Times are in units of the whole signal: 0 is the oldest, 1 the newest.

Source: ∞-former, section 3.2; published code: long_term_attention.py (`value_function`).
"""

import dataclasses
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Array, Float

from infformer_jax.core.arrays import on_last_axis
from infformer_jax.core.basis import Basis
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.errors import ConfigError, check_range


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
  contraction: float | Literal['equal']  # τ: the old signal is squeezed into [0, τ]; 'equal': k/(k+1)
  ridge: float  # λ
  signal_positions: Literal['plain', 'padded'] = 'plain'

  def __post_init__(self) -> None:
    if self.contraction != 'equal' and not 0 < self.contraction < 1:
      raise ConfigError(f"contraction = {self.contraction!r} must be in (0, 1), such as 0.75, or 'equal'")
    if self.ridge <= 0:
      raise ConfigError(f'ridge = {self.ridge} must be positive, such as 0.5')
    for key in ('num_samples', 'segment_length'):
      check_range(key, getattr(self, key), 1)
    if self.signal_positions not in ('plain', 'padded'):
      raise ConfigError(f"signal_positions = {self.signal_positions!r} must be 'plain' or 'padded'")
    if self.signal_positions == 'padded' and (
      self.contraction == 'equal' or not isinstance(self.basis, GaussianBasis)
    ):
      raise ConfigError(
        "signal_positions = 'padded' must be 'plain' unless basis = 'gaussian' and contraction is a number"
      )

  def tau(self, writes: Any) -> Any:
    """The contraction of the write that follows `writes` others.

    Args:
      writes: an int, or a floating array of NumPy or jax, whose dtype and shape the result has.
    """
    return writes / (writes + 1) if self.contraction == 'equal' else 0 * writes + self.contraction


def even_points(num_samples: int) -> Float[np.ndarray, '{num_samples}']:
  """(1..P)/P: where the even update samples the old signal."""
  return np.arange(1, num_samples + 1) / num_samples


def first_times(spec: SignalSpec) -> tuple[Float[np.ndarray, 't'], slice]:
  """All positions of a first write, in order, and which are those of the l values; the others are zeros."""
  length = spec.segment_length
  if spec.signal_positions == 'plain':
    return even_points(length), slice(None)
  pad = length // 2
  return (np.arange(-pad, length + pad) + 0.5) / length, slice(pad, pad + length)


@overload
def new_times(spec: SignalSpec, writes: int) -> Float[np.ndarray, 'l']: ...
@overload
def new_times(spec: SignalSpec, writes: Float[Array, '*b']) -> Float[Array, '*b l']: ...
def new_times(spec: SignalSpec, writes: Any) -> Any:
  """τ + (1-τ)(1..l)/l: where the l values of the write after `writes` others are put, without padding.

  Args:
    writes: k >= 1, as of `SignalSpec.tau`.
  Returns:
    float64 on the host for an int, else in the dtype of `writes`.
  """
  tau, even_l = spec.tau(writes), even_points(spec.segment_length)
  if isinstance(writes, int):
    return tau + (1 - tau) * even_l
  tau, even_l = tau[..., None], on_last_axis(even_l.astype(writes.dtype), writes.ndim + 1)
  return tau + (1 - tau) * even_l


def later_times(spec: SignalSpec, writes: int = 1) -> tuple[Float[np.ndarray, 't'], slice]:
  """All positions of the write after `writes` others, and which are those of P samples, then l values."""
  length, count, tau = spec.segment_length, spec.segment_length + spec.num_samples, spec.tau(writes)
  times = np.concatenate([tau * even_points(spec.num_samples), new_times(spec, writes)])
  if spec.signal_positions == 'plain':
    return times, slice(None)
  # As published: l + P cells from -.5 to 1.5, whose centres an even l misses by a little.
  shift = 1 / count if length % 2 else 1 / (length + count)
  padding = np.linspace(-0.5 + shift, 1.5 - shift, 2 * count - length % 2)
  below, above = padding[padding < 0], padding[padding > 1]
  return np.concatenate([below, times, above]), slice(len(below), len(below) + count)
