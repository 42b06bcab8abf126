"""Long calls of compiled libraries that an interrupt can end."""

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar('_T')


def interruptible(function: Callable[[], _T]) -> _T:
  """Calls a function in a thread while this thread waits, so that an interrupt ends the wait at once.

  Python handles Ctrl-C between two instructions of its main thread, so a call of a compiled library that
  takes minutes would delay it by minutes. After an interrupt, the thread continues until the process exits,
  which does not wait for it; its result is lost.

  Args:
    function: releases the lock of the interpreter while it computes.
  Returns:
    Its result; what it raises is raised here.
  Raises:
    KeyboardInterrupt: the process was interrupted while it waited.
  """
  result: concurrent.futures.Future[_T] = concurrent.futures.Future()

  def run() -> None:
    try:
      result.set_result(function())
    except BaseException as error:
      result.set_exception(error)

  threading.Thread(target=run, daemon=True).start()
  return result.result()
