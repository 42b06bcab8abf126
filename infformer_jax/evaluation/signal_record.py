"""Records the basis of a continuous memory and its reconstruction of a signal, from the config alone."""

import numpy as np

from infformer_jax.core import basis, signal
from infformer_jax.core.signal_spec import first_times
from infformer_jax.core.time_axis import Logarithmic
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.records import ReconstructionRecord, SignalRecord

NUM_WRITES = (1, 3, 8)
AGE_WRITES = 64
"""After these, the ages on a time axis that depend on the number of writes are recorded."""


def record(config: ContinuousConfig, segment_length: int) -> SignalRecord:
  """The basis on a grid over [0, 1], and a smooth random signal that is written segment by segment.

  The writes use the operators of core/signal.py with even sampling.

  Args:
    config: the memory.
    segment_length: the number of values of a write.
  Returns:
    The record, with a reconstruction after each of NUM_WRITES writes.
  """
  times_t, basis_tn = _basis_functions(config)
  axis = config.signal_spec(segment_length).axis
  return SignalRecord(
    times_t=times_t,
    age_t=axis.age(times_t, AGE_WRITES),
    age_writes=None if isinstance(axis, Logarithmic) else AGE_WRITES,
    basis_tn=basis_tn.astype(np.float16),  # Three digits are enough for a plot.
    reconstructions=_reconstructions(config, segment_length, basis_tn),
  )


def _basis_functions(config: ContinuousConfig) -> tuple[np.ndarray, np.ndarray]:
  """A grid over [0, 1] that is finer than the narrowest function, and the functions on it [t, n]."""
  times_t = np.linspace(0, 1, max(2001, int(8 / config.basis_spec().finest) + 1))
  return times_t, basis.evaluate_on_host(config.basis_spec(), times_t)


def _reconstructions(
  config: ContinuousConfig, segment_length: int, basis_tn: np.ndarray
) -> tuple[ReconstructionRecord, ...]:
  spec = config.signal_spec(segment_length)
  first, in_first = first_times(spec)
  axis = spec.axis
  num_writes = max(NUM_WRITES)
  noise_t = np.random.default_rng(0).normal(size=(num_writes + 1) * segment_length)
  width = max(1, segment_length // 8)
  values_wl = np.convolve(noise_t, np.hanning(width + 2), 'same')[: num_writes * segment_length]
  values_wl = (values_wl / values_wl.std()).reshape(num_writes, segment_length)

  records = []
  b_n, times_p = signal.first_operator(spec).T @ values_wl[0], first[in_first]
  for write in range(1, num_writes + 1):
    if write > 1:
      constants = signal.operators(spec, write - 1)
      b_n = constants.carry_nn @ b_n + constants.new_ln.T @ values_wl[write - 1]
      times_p = np.concatenate([axis.moved(times_p, write - 1), axis.new_times(write - 1)])
    if write in NUM_WRITES:
      records.append(
        ReconstructionRecord(
          num_writes=write,
          times_p=times_p,
          values_p=values_wl[:write].ravel(),
          signal_t=basis_tn @ b_n,
        )
      )
  return tuple(records)
