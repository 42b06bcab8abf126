"""Why a training run can end before its last step. Each is one line for the user and a code to exit with."""

import contextlib
import errno
import pathlib
from collections.abc import Iterator


class Stopped(Exception):
  """Training ended early."""

  code = 1


class NotFiniteError(Stopped):
  """A step met a value that is not finite."""

  def __init__(self, step: int, group: str):
    self.step = step
    super().__init__(
      f'step {step}: {group} is not finite; checkpoint {step - 1} holds the state before that step'
    )


class SaveError(Stopped):
  """A checkpoint or a metric could not be written. The checkpoints before it are as they were."""


@contextlib.contextmanager
def space(workdir: pathlib.Path) -> Iterator[None]:
  """A full disk stops a run, whatever was being written; other errors pass."""
  try:
    yield
  except OSError as error:
    if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
      raise
    raise SaveError(
      f'{error.filename or workdir}: {error.strerror}; free some space and start again'
    ) from None


class Terminated(Stopped):
  """SIGTERM came. The exit code is that of a process which the signal ended: schedulers start it again."""

  code = 143
