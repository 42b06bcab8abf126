"""Removes Orbax's messages about a failed read or write: checkpoint.py reports it in one line."""

import functools
import logging
import sys
import warnings
from typing import Any


@functools.cache
def silence_orbax() -> None:
  """Suppresses Orbax's log, and the tracebacks of the reads and writes that it abandons after a failure."""
  logging.getLogger('absl').addFilter(lambda record: 'orbax' not in record.pathname)
  logging.getLogger('asyncio').addFilter(lambda record: 'was never retrieved' not in record.getMessage())
  warnings.filterwarnings('ignore', "coroutine '.*' was never awaited", RuntimeWarning)
  hook = sys.unraisablehook

  def filtered(unraisable: Any) -> None:
    code = getattr(unraisable.object, 'cr_code', None)
    never_awaited = 'orbax' in getattr(code, 'co_filename', '')
    written_too_late = str(unraisable.exc_value) == 'Event loop is closed'
    if not (never_awaited or written_too_late):
      hook(unraisable)

  sys.unraisablehook = filtered
