"""The capacity of a signal, computed exactly from its linear operators: B' = A B + C X, first write C1 X.

On the host in float64: three numbers that compare specs without training anything.
"""

import math
from typing import NamedTuple

import numpy as np

from infformer_jax.core.basis import evaluate_on_host
from infformer_jax.core.signal import first_operator, operators
from infformer_jax.core.signal_spec import SignalSpec, first_times, new_times
from infformer_jax.errors import ConfigError

_PEAK_GRID = 20001
_MAX_WRITES = 10_000


class Capacity(NamedTuple):
  """The three measures of a spec."""

  capacity: float  # independent values held; at most num_basis
  effective_rank: float  # degrees of freedom of the first write
  half_life: int  # writes


def measure(spec: SignalSpec) -> Capacity:
  """All three."""
  return Capacity(capacity(spec), effective_rank(spec), half_life(spec))


def capacity(spec: SignalSpec, *, tolerance: float = 1e-9) -> float:
  """The number of independent past values that the signal holds, in a memory in its stationary state.

  Independent values of unit variance are written indefinitely; R² of a past value is its squared correlation
  with the signal at the value's present time, τ^j(τ + (1-τ) i/l) after j further writes. Capacity is
  the sum of R² over all past values. No memory of n numbers per channel with a linear read-out exceeds n.

  Args:
    tolerance: the sum stops where a segment adds less than this share of n.
  Raises:
    ConfigError: the contraction is not constant, so that there is no stationary state.
  """
  constants, tau = operators(spec), _constant_contraction(spec)
  carry_nn, map_nl = constants.carry_nn, constants.new_ln.T
  covariance_nn = _stationary(carry_nn, map_nl @ map_nl.T)
  times_l, total = new_times(spec, 1), 0.0
  for _ in range(_MAX_WRITES):
    psi_ln = evaluate_on_host(spec.basis, times_l)
    signal_l = np.einsum('ln,nl->l', psi_ln, map_nl)  # Covariance of the value with the signal there.
    variance_l = np.einsum('ln,ln->l', psi_ln @ covariance_nn, psi_ln)
    added = float(np.sum(signal_l**2 / variance_l))
    total += added
    if added < tolerance * spec.basis.num_basis:
      break
    times_l, map_nl = tau * times_l, carry_nn @ map_nl
  return total


def _stationary(carry_nn: np.ndarray, noise_nn: np.ndarray) -> np.ndarray:
  """sum_j A^j N A^jᵀ, by doubling."""
  total_nn, power_nn = noise_nn, carry_nn
  for _ in range(math.ceil(math.log2(_MAX_WRITES))):
    step_nn = power_nn @ total_nn @ power_nn.T
    total_nn, power_nn = total_nn + step_nn, power_nn @ power_nn
    if np.abs(step_nn).max() < 1e-14 * np.abs(total_nn).max():
      break
  return total_nn


def effective_rank(spec: SignalSpec) -> float:
  """Degrees of freedom of the first write: the trace of its smoother ψ(t)ᵀ C1."""
  times, values = first_times(spec)
  return float(np.sum(evaluate_on_host(spec.basis, times[values]) * first_operator(spec)))


def half_life(spec: SignalSpec) -> int:
  """Writes until a segment of ones, written into a running memory of zeros, has lost half its peak.

  Zeros are written afterwards; the peak is that of |signal| over [0, 1].

  Raises:
    ConfigError: the contraction is not constant.
    ValueError: it does not decay.
  """
  _constant_contraction(spec)
  constants = operators(spec)
  psi_tn = evaluate_on_host(spec.basis, np.linspace(0, 1, _PEAK_GRID))
  b_n = constants.new_ln.sum(axis=0)
  half = np.abs(psi_tn @ b_n).max() / 2
  for writes in range(1, _MAX_WRITES):
    b_n = constants.carry_nn @ b_n
    if np.abs(psi_tn @ b_n).max() < half:
      return writes
  raise ValueError(f'the signal of {spec} does not decay within {_MAX_WRITES} writes')


def _constant_contraction(spec: SignalSpec) -> float:
  if spec.contraction == 'equal':
    raise ConfigError("contraction = 'equal' must be a number, such as 0.75, for a capacity and a half-life")
  return spec.contraction
