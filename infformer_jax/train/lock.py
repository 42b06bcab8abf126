"""One training at a time in a work directory."""

import fcntl
import pathlib
from typing import IO

import jax

from infformer_jax.errors import UserError


def lock(workdir: pathlib.Path) -> IO[str]:
  """Keeps other trainings out of the work directory for as long as the result lives.

  The kernel lets go of it whatever way the process ends.

  Raises:
    UserError: another process trains there, or the directory cannot be made.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = open(workdir / 'lock', 'a')  # noqa: SIM115
  except OSError as error:
    raise UserError(f'cannot write to {workdir}: {error.strerror}') from None
  if jax.process_index() == 0:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UserError(
        f'another run is training in {workdir}; wait for its end, or use another --workdir'
      ) from None
  return file
