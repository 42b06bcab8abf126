"""Reading a part of a checkpoint: all processes agree on whether it is intact."""

import os
import re
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jax.experimental import multihost_utils

from infformer_jax import paths
from infformer_jax.train.exits import UnreachableError

_T = TypeVar('_T')
_UNREACHABLE = (
  'retry attempts failed|UNAVAILABLE|DEADLINE_EXCEEDED|PERMISSION_DENIED|UNAUTHENTICATED|Forbidden'
)


class Damaged(Exception):
  """Part of a checkpoint cannot be verified."""


def reading(read: Callable[[], _T]) -> _T:
  """The result of `read`; all processes agree on whether it succeeds.

  Raises:
    Damaged: it fails on some process.
    UnreachableError: it fails on some process because a bucket cannot be reached: nothing is damaged.
  """
  result, failure, reason = None, 0, 'another process could not read it'
  try:
    result = read()
  except Exception as error:  # A damaged file can cause any error.
    failure, reason = 2 if is_unreachable(error) else 1, in_short(error)
  worst = np.max(multihost_utils.process_allgather(np.array(failure)))
  if worst == 2:
    raise UnreachableError(f'a checkpoint could not be read ({reason}); run the same command again')
  if worst == 1 or result is None:
    raise Damaged(reason)
  return result


def in_short(error: BaseException) -> str:
  """The operating system's message, if the error has its code; otherwise the start of the first line."""
  if code := re.search(r"os_error_code='(\d+)'", str(error)):
    return os.strerror(int(code[1]))
  line = next(iter(str(error).splitlines()), '') or type(error).__name__
  return line if len(line) < 120 else line[:117] + '...'


def is_unreachable(error: BaseException | None) -> bool:
  """Whether the error, or one that caused it, is about a bucket and not about what is in it."""
  while error is not None:
    if isinstance(error, paths.bucket_errors()) or re.search(_UNREACHABLE, str(error)):
      return True
    error = error.__cause__ or error.__context__
  return False
