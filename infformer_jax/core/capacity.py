"""What a signal still holds of its past, computed exactly from its linear operators: B' = A B + C X.

On the host in float64. The numbers and the curve compare specs without training anything.
"""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from infformer_jax.core.basis import evaluate_on_host
from infformer_jax.core.ridge import ridge_operator
from infformer_jax.core.signal import Operators, first_operator, operators
from infformer_jax.core.signal_spec import SignalSpec, first_times
from infformer_jax.core.time_axis import Logarithmic
from infformer_jax.errors import ConfigError

BLOCK = 0.1
"""The curve is about means of tokens over this share of their age."""

_PEAK_GRID = 20001
_MAX_WRITES = 10_000
_TIMES = 4096
_CHANGING_WRITES = 128
_NOTHING = 1e-12


class Capacity(NamedTuple):
  """The measures of a spec."""

  capacity: float  # independent values held; at most num_basis
  effective_rank: float  # degrees of freedom of the first write
  half_life: int  # writes
  horizon: float  # tokens


def measure(spec: SignalSpec) -> Capacity:
  """All four."""
  return Capacity(capacity(spec), effective_rank(spec), half_life(spec), horizon(spec))


@functools.cache
def capacity(spec: SignalSpec, *, tolerance: float = 1e-9) -> float:
  """The number of independent past values that the signal holds, in a memory in its stationary state.

  Independent values of unit variance are written indefinitely; R² of a past value is its squared correlation
  with the signal at the value's present time. Capacity is the sum of R² over all past values. No memory of n
  numbers per channel with a linear read-out exceeds n.

  Args:
    tolerance: the sum stops where a segment adds less than this share of n.
  Raises:
    ConfigError: the operators change from write to write, so that there is no stationary state.
  """
  constants, length, total = _constant_operators(spec), spec.segment_length, 0.0
  # The values of one write in B, as a product of factors: old values cannot be told apart, so that the rank r
  # falls from write to write, and with it the cost of a product with A.
  values_rl, map_nr = np.eye(length), constants.new_ln.T
  rounding = _NOTHING * np.linalg.norm(map_nr)
  covariance_nn = _stationary(spec)
  for write in range(_num_writes(spec)):
    if not write & (write - 1):  # After 1, 2, 4, 8, ... writes.
      map_nr, size_r, rows_rr = np.linalg.svd(map_nr, full_matrices=False)
      kept_r = size_r > rounding
      map_nr = map_nr[:, kept_r] * size_r[kept_r]
      values_rl = rows_rr[kept_r] @ values_rl
    times_l = spec.axis.time(write * length + np.arange(length - 1.0, -1, -1), _num_writes(spec))
    psi_ln = evaluate_on_host(spec.basis, times_l)
    near_n = np.abs(psi_ln).max(axis=0) > _NOTHING  # Most functions are zero at all of these times.
    psi_ln, covariance = psi_ln[:, near_n], covariance_nn[np.ix_(near_n, near_n)]
    signal_l = np.einsum('lr,rl->l', psi_ln @ map_nr[near_n], values_rl)  # Covariance with the value.
    variance_l = np.einsum('ln,ln->l', psi_ln @ covariance, psi_ln)
    added = float(np.sum((signal_l**2 / variance_l)[times_l > 0]))
    total += added
    if added < tolerance * spec.basis.num_basis or times_l[-1] <= 0:  # Forgotten, or beyond a horizon.
      break
    map_nr = constants.carry_nn @ map_nr
  return total


def curve(spec: SignalSpec, ages_a: Float[np.ndarray, 'a']) -> Float[np.ndarray, 'a']:
  """R² of the mean over 10 % of an age: its squared correlation with the signal read where these tokens are.

  Independent values of unit variance have been written until the oldest of these tokens is in the document
  or, with constant operators, indefinitely. The read is the mean of the signal over the times of the tokens.

  Args:
    ages_a: increasing, in tokens; 0 is the newest. A block covers the ages within 5 % of its own.
  Returns:
    From 0, nothing is held, to 1.
  Raises:
    ConfigError: contraction 'equal', whose operators change, and an age of more than 128 segments.
  """
  length = spec.segment_length
  low_a = np.floor(ages_a * (1 - BLOCK / 2)).astype(int)
  high_a = np.maximum(np.floor(ages_a * (1 + BLOCK / 2)).astype(int), low_a + 1)
  writes = int(-(-high_a[-1] // length))
  if spec.contraction == 'equal':
    if writes > _CHANGING_WRITES:
      raise ConfigError(
        f"contraction = 'equal' must be read at ages up to {_CHANGING_WRITES * length} tokens"
      )
    maps = list(_changing_traces(spec, writes))
    covariance_nn = sum((map_nl @ map_nl.T for map_nl in maps), np.zeros(()))
  else:
    covariance_nn, writes = _stationary(spec), max(writes, _num_writes(spec))

  def younger(age: int) -> np.ndarray:
    """What the sum of all values younger than this age is in B."""
    write, rest = divmod(age, length)
    if spec.contraction == 'equal':
      parts = [*maps[:write], *([maps[write][:, length - rest :]] if rest else [])]
      return sum((map_nl.sum(axis=1) for map_nl in parts), np.zeros(spec.basis.num_basis))
    return _ones_after(spec, operators(spec).new_ln[length - rest :].sum(axis=0), write)

  held = []
  for low, high in zip(low_a.tolist(), high_a.tolist(), strict=True):
    psi_n = _mean_functions(spec, low, high, writes)
    covariance = psi_n @ (younger(high) - younger(low))  # Of the sum of the values with the read.
    variance = psi_n @ covariance_nn @ psi_n
    held.append(covariance**2 / (variance * (high - low)) if variance > _NOTHING else 0.0)
  return np.array(held)


@functools.cache
def horizon(spec: SignalSpec) -> float:
  """The age in tokens, to 1 %, from which on the curve is below one half; inf where no tried age is."""
  length = spec.segment_length
  last = length * (_CHANGING_WRITES if spec.contraction == 'equal' else _num_writes(spec)) / (1 + BLOCK)
  ages_a = np.geomspace(length / 2, last, 4 * math.ceil(math.log2(2 * last / length)))
  for finer in (16, 1):
    above = np.flatnonzero(curve(spec, ages_a) >= 0.5)
    if not len(above):
      return 0.0
    if above[-1] + 1 == len(ages_a):
      return math.inf
    ages_a = np.geomspace(ages_a[above[-1]], ages_a[above[-1] + 1], finer)
  return float(ages_a[0])


def effective_rank(spec: SignalSpec) -> float:
  """Degrees of freedom of the first write: the trace of its smoother over its values.

  On a logarithmic axis these are also the samples of the signal, which is still empty.
  """
  times, values = first_times(spec)
  if isinstance(spec.axis, Logarithmic):
    operator_tn = ridge_operator(spec.basis, times, spec.ridge)
    return float(np.sum(evaluate_on_host(spec.basis, times) * operator_tn))
  return float(np.sum(evaluate_on_host(spec.basis, times[values]) * first_operator(spec)))


def half_life(spec: SignalSpec) -> int:
  """Writes until a segment of ones, written into a running memory of zeros, has lost half its peak.

  Zeros are written afterwards; the peak is that of |signal| over [0, 1].

  Raises:
    ConfigError: the operators change from write to write.
    ValueError: it does not decay.
  """
  psi_tn = evaluate_on_host(spec.basis, np.linspace(0, 1, _PEAK_GRID))
  constants = _constant_operators(spec)
  b_n = constants.new_ln.sum(axis=0)
  half = np.abs(psi_tn @ b_n).max() / 2
  for writes in range(1, _MAX_WRITES):
    b_n = constants.carry_nn @ b_n
    if np.abs(psi_tn @ b_n).max() < half:
      return writes
  raise ValueError(f'the signal of {spec} does not decay within {_MAX_WRITES} writes')


def _mean_functions(spec: SignalSpec, low: int, high: int, writes: int) -> Float[np.ndarray, 'n']:
  """The mean of ψ over the times of the tokens with these ages."""
  ages = np.arange(low, high)
  times = spec.axis.time(ages[:: -(-len(ages) // _TIMES)].astype(float), writes)
  return evaluate_on_host(spec.basis, times).mean(axis=0)


def _ones_after(spec: SignalSpec, b_n: Float[np.ndarray, 'n'], writes: int) -> Float[np.ndarray, 'n']:
  """B after so many writes of ones."""
  for bit in range(writes.bit_length()):
    if writes >> bit & 1:
      b_n = _ones(spec, bit) + _power(spec, bit) @ b_n
  return b_n


@functools.cache
def _ones(spec: SignalSpec, bit: int) -> Float[np.ndarray, 'n']:
  """2^bit writes of ones, in B."""
  if not bit:
    return _constant_operators(spec).new_ln.sum(axis=0)
  half_n = _ones(spec, bit - 1)
  return half_n + _power(spec, bit - 1) @ half_n


@functools.cache
def _power(spec: SignalSpec, bit: int) -> Float[np.ndarray, 'n n']:
  """A to the power of 2^bit."""
  if not bit:
    return _constant_operators(spec).carry_nn
  root_nn = _power(spec, bit - 1)
  return root_nn @ root_nn


def _changing_traces(spec: SignalSpec, writes: int) -> Iterator[Float[np.ndarray, 'n l']]:
  """What the values of each write are in B after `writes` writes whose operators differ, the newest first."""
  later_nn = np.eye(spec.basis.num_basis)
  for write in range(writes - 1, -1, -1):
    if not write:
      yield later_nn @ first_operator(spec).T
      return
    constants = operators(spec, write)
    yield later_nn @ constants.new_ln.T
    later_nn = later_nn @ constants.carry_nn


@functools.cache
def _stationary(spec: SignalSpec) -> Float[np.ndarray, 'n n']:
  """The covariance of B: sum_j A^j C Cᵀ A^jᵀ, by doubling."""
  constants = _constant_operators(spec)
  total_nn = constants.new_ln.T @ constants.new_ln
  for bit in range(math.ceil(math.log2(_num_writes(spec)))):
    step_nn = _power(spec, bit) @ total_nn @ _power(spec, bit).T
    total_nn = total_nn + step_nn
    if np.abs(step_nn).max() < 1e-14 * np.abs(total_nn).max():
      break
  return total_nn


def _num_writes(spec: SignalSpec) -> int:
  """So many writes later nothing is held."""
  if isinstance(spec.axis, Logarithmic):
    return 2 * math.ceil(spec.axis.horizon / spec.segment_length)
  return _MAX_WRITES


def _constant_operators(spec: SignalSpec) -> Operators:
  if spec.contraction == 'equal':
    raise ConfigError(
      "contraction = 'equal' must be a number, such as 0.75, or 'log': "
      'a capacity and a half-life are not defined for operators that change with every write'
    )
  return operators(spec)
