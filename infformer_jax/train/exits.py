"""The reasons for which a program ends early: a line for the user, and an exit code."""

import contextlib
import errno
import pathlib
from collections.abc import Iterator


class Stopped(Exception):
  """Training or generation ended early."""

  code = 1


class NotFiniteError(Stopped):
  """A step computed a value that is not finite."""

  def __init__(self, step: int, group: str):
    self.step = step
    super().__init__(
      f'step {step}: {group} is not finite; checkpoint {step - 1} holds the state before that step'
    )


class NotFiniteModelError(Stopped):
  """A trained model computed a value that is not finite."""


class SaveError(Stopped):
  """A checkpoint or a metric could not be written. Earlier checkpoints are unchanged."""


@contextlib.contextmanager
def space(workdir: pathlib.Path) -> Iterator[None]:
  """Turns the error of a full disk into a SaveError; other errors pass.

  Args:
    workdir: named if the error names no file.
  Raises:
    SaveError: the disk is full.
  """
  try:
    yield
  except OSError as error:
    if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
      raise
    raise SaveError(
      f'{error.filename or workdir}: {error.strerror}; free some space and run the same command again'
    ) from None


class Terminated(Stopped):
  """The run received SIGTERM. The exit code is that of a process that the signal ends."""

  code = 143
