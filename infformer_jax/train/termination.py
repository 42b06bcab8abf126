"""SIGTERM, which a scheduler sends some time before it kills a process."""

import signal
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils


class Termination:
  """A context that records SIGTERM instead of ending the process.

  With several processes, JAX's preemption service receives the signal in each of them and chooses a step that
  none has reached yet, so that all stop after the same step.
  """

  def __init__(self) -> None:
    self._received = False
    self._before: Any = None

  def __enter__(self) -> 'Termination':
    if jax.process_count() == 1:
      self._before = signal.signal(signal.SIGTERM, self._record)
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
  ) -> None:
    if jax.process_count() == 1:
      signal.signal(signal.SIGTERM, self._before)

  def requested(self, step: int) -> bool:
    """Whether to stop after this step. Every process calls this after every step."""
    if jax.process_count() == 1:
      return self._received
    return multihost_utils.reached_preemption_sync_point(step)

  def _record(self, number: int, frame: FrameType | None) -> None:
    del number, frame
    self._received = True
