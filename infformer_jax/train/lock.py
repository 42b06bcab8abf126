"""A work directory is used by one training run at a time."""

import contextlib
import pathlib
from collections.abc import Iterator

import jax

from infformer_jax import files
from infformer_jax.errors import UserError


@contextlib.contextmanager
def lock(workdir: pathlib.Path) -> Iterator[None]:
  """Reserves the work directory, which is created if necessary, for one training run until the block ends.

  Process 0 holds the lock for all processes of a run.

  Raises:
    UserError: another run holds the lock, or the directory cannot be written.
  """
  with contextlib.ExitStack() as stack:
    try:
      workdir.mkdir(parents=True, exist_ok=True)
      if jax.process_index() == 0:
        stack.enter_context(files.lock(workdir / 'lock', wait=False))
    except BlockingIOError:
      raise UserError(
        f'another run is training in {workdir}; wait until it ends, or use another --workdir'
      ) from None
    except OSError as error:
      raise UserError(f'cannot write to {workdir}: {error.strerror}; use a writable --workdir') from None
    yield
