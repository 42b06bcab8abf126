"""The reports of the steps: metrics, speed, skipped steps and values that are not finite."""

import time
from collections.abc import Callable, Iterator

import jax

from infformer_jax.train.device_peaks import bfloat16_peak
from infformer_jax.train.exits import NotFiniteError
from infformer_jax.train.hooks import Run
from infformer_jax.train.step import Report
from infformer_jax.types import Batch

_OF_SKIPPED_STEPS = ('padded_fraction',)
"""The metrics that also count for a step that is skipped: those of the batch."""


class Reports:
  """Adds the metrics of the steps to the run, one step late, so that the devices never wait for the host."""

  def __init__(self, run: Run, *, flops_per_token: Callable[[], float] | None, say: Callable[[str], None]):
    """
    Args:
      run: takes the metrics.
      flops_per_token: as in loop.train.
      say: called with a line about each skipped step.
    """
    self._run, self._say = run, say
    self._waiting: list[tuple[int, Report]] = []
    self._clock = time.monotonic()
    self._data_wait = 0.0  # seconds since `_clock`
    self._devices, self._device = jax.device_count(), jax.local_devices()[0]
    peak = bfloat16_peak(jax.devices()[0].device_kind)
    self._fraction_per_rate: float | None = None
    if peak is not None and flops_per_token is not None:
      self._fraction_per_rate = flops_per_token() / (peak * self._devices)

  def add(self, report: Report) -> None:
    """Takes the report of step `run.step`, which was started, and adds the metrics of the step before."""
    self.catch_up()
    self._waiting.append((self._run.step, report))

  def wait_for(self, stream: Iterator[Batch]) -> Batch:
    """The next batch. The wait for it does not count if the last step is still running when it comes."""
    start = time.monotonic()
    batch = next(stream)
    if not self._waiting or self._waiting[-1][1].finite.is_ready():  # type: ignore[attr-defined]
      self._data_wait += time.monotonic() - start
    return batch

  def catch_up(self) -> None:
    """Waits for the last step and adds its metrics to the run's.

    Raises:
      NotFiniteError: the step computed a value that is not finite, and was not skipped.
    """
    while self._waiting:
      step, report = self._waiting.pop()
      metrics, finite, applied = jax.device_get((report.metrics, report.finite, report.applied))
      if not applied:
        bad = next(group for group, finite in jax.device_get(report.groups).items() if not finite)
        if not finite:
          raise NotFiniteError(step, bad, skipped=int(jax.device_get(self._run.state.skipped)))
        self._say(f'step {step} is skipped: {bad} is not finite')
        metrics = {name: value if name in _OF_SKIPPED_STEPS else (0, 0) for name, value in metrics.items()}
      seconds = time.monotonic() - self._clock
      padding, positions = metrics['padded_fraction']
      tokens = positions - padding
      metrics['step_seconds'] = (seconds, 1)
      metrics['tokens_per_second'] = (tokens, seconds)
      metrics['tokens_per_second_per_device'] = (tokens / self._devices, seconds)
      if self._fraction_per_rate is not None:
        metrics['bfloat16_peak_fraction'] = (tokens * self._fraction_per_rate, seconds)
      metrics['data_wait_fraction'] = (self._data_wait, seconds)
      if (memory := self._device.memory_stats()) and 'peak_bytes_in_use' in memory:  # CPUs have none.
        metrics['peak_device_gib'] = (memory['peak_bytes_in_use'] / 2**30, 1)
      self._run.totals.add(metrics)
      self.restart_clock()

  def restart_clock(self) -> None:
    """Excludes the time until now from the speed of the training run, and from its waits for data."""
    self._clock, self._data_wait = time.monotonic(), 0.0
