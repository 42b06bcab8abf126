"""SIGTERM: what a scheduler sends some time before it kills."""

import signal
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils


class Termination:
  """A context in which SIGTERM is noted instead of obeyed.

  Where there are several processes, JAX's preemption service listens to the signal in each and finds a step
  that all of them have yet to reach, so that they stop together.
  """

  def __init__(self) -> None:
    self._noted = False
    self._before: Any = None

  def __enter__(self) -> 'Termination':
    if jax.process_count() == 1:
      self._before = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
  ) -> None:
    if jax.process_count() == 1:
      signal.signal(signal.SIGTERM, self._before)

  def requested(self, step: int) -> bool:
    """Whether to stop after this step. To be asked after every step, by every process."""
    if jax.process_count() == 1:
      return self._noted
    return multihost_utils.reached_preemption_sync_point(step)

  def _note(self, number: int, frame: FrameType | None) -> None:
    del number, frame
    self._noted = True
