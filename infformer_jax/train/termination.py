"""SIGTERM, which a scheduler sends some time before it kills a process."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from infformer_jax.train import joined

_LAST_SECONDS = 5.0


class Termination:
  """A context that records SIGTERM instead of ending the process.

  With several processes, they choose a step that none of them has begun, so that all stop after the same step
  (train/peers.py).
  """

  def __init__(self, last: Callable[[], str]) -> None:
    """
    Args:
      last: says which checkpoint is the last one, for processes that do not reach a common step.
    """
    self._peers, self._last = joined.peers(), last
    self._recorded = False
    self._before: Any = None

  def __enter__(self) -> 'Termination':
    if self._peers:
      self._peers.enter_loop(lambda: _within_seconds(self._last))
    else:
      self._before = signal.signal(signal.SIGTERM, self._record)
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
  ) -> None:
    if self._peers:
      self._peers.leave_loop()
    else:
      signal.signal(signal.SIGTERM, self._before)

  @property
  def received(self) -> bool:
    """Whether a process of the run has received SIGTERM; also after the context."""
    return self._peers.terminated if self._peers else self._recorded

  def requested(self, step: int) -> bool:
    """Whether to stop after this step. Every process calls this after every step."""
    return self._peers.stops_after(step) if self._peers else self._recorded

  def _record(self, number: int, frame: FrameType | None) -> None:
    del number, frame
    self._recorded = True


def _within_seconds(say: Callable[[], str]) -> str:
  """What `say` returns, or what is always true if a disk does not answer: the run may hang because of it."""
  result: list[str] = []
  thread = threading.Thread(target=lambda: result.append(say()), daemon=True)
  thread.start()
  thread.join(_LAST_SECONDS)
  return result[0] if result else 'run the same command again to resume from the last checkpoint'
