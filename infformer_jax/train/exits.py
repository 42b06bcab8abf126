"""The reasons for which a program ends early: a line for the user, and an exit code."""

import contextlib
import dataclasses
import errno
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from infformer_jax import paths
from infformer_jax.errors import UserError


class Stopped(Exception):
  """Training or generation ended early."""

  code = 1
  of_one_process = False  # whether the other processes of the run may go on


class NotFiniteError(Stopped):
  """A step computed a value that is not finite."""

  def __init__(self, step: int, group: str, *, skipped: int = 0):
    """The step, the first group of tensors that is not finite, and the steps that were skipped before it."""
    self.step = step
    after = f' after {skipped} skipped steps in a row (train.max_skipped_steps)' if skipped else ''
    super().__init__(
      f'step {step}: {group} is not finite{after}; checkpoint {step - 1} holds the state before that step'
    )


class NotFiniteModelError(Stopped):
  """A trained model computed a value that is not finite."""


class SaveError(Stopped):
  """A checkpoint or a metric could not be written. Earlier checkpoints are unchanged."""

  of_one_process = True


class UnreachableError(Stopped):
  """A bucket could not be reached, or refuses what is necessary; the same command may succeed later.

  The exit code is EX_TEMPFAIL of sysexits.h.
  """

  code = 75
  of_one_process = True


@contextlib.contextmanager
def storage(workdir: os.PathLike[str]) -> Iterator[None]:
  """Turns the errors of the file system about a work directory into lines for the user; others pass.

  Args:
    workdir: named if the error names no file.
  Raises:
    SaveError: the disk is full.
    UnreachableError: the bucket cannot be reached.
    UserError: a file in the work directory cannot be read or written, as if a folder is in its place.
  """
  try:
    yield
  except paths.errors() as error:
    code = getattr(error, 'errno', None)
    if code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
      where, remedy = getattr(error, 'filename', None) or workdir, 'free some space and'
      raise SaveError(f'{where}: {paths.reason(error)}; {remedy} run the same command again') from None
    if not paths.is_local(workdir) and (code is None or isinstance(error, paths.bucket_errors())):
      raise UnreachableError(f'{workdir}: {paths.reason(error)}; run the same command again') from None
    file = str(getattr(error, 'filename2', None) or getattr(error, 'filename', None) or '')
    if pathlib.Path(file).is_relative_to(workdir):
      raise UserError(
        f'cannot use {file}: {paths.reason(error)}; correct this, or use another --workdir'
      ) from None
    raise


class Terminated(Stopped):
  """The run received SIGTERM. The exit code is that of a process that the signal ends."""

  code = 143


_KILLED = 'has ended without a word: it was killed, as when memory is exhausted, or it crashed'


@dataclasses.dataclass(frozen=True)
class End:
  """Why all processes of a run end."""

  process: int
  host: str
  code: int
  line: str  # what this process says
  died: bool = False  # `line` is what the others say of it

  @classmethod
  def dead(cls, process: int, host: str, problem: str = _KILLED) -> 'End':
    """The end of all others, because this process has died."""
    line = f'stopped: process {process} on {host} {problem}; run the same command again to resume'
    return cls(process, host, UnreachableError.code, line, died=True)

  def message(self) -> dict[str, Any]:
    return {'end': dataclasses.asdict(self)}

  def seen_by(self, index: int) -> str:
    """The line of another process, or of this one."""
    own = self.died or index == self.process
    return self.line if own else f'process {self.process} on {self.host}: {self.line}'
