"""A work directory is used by one training run at a time."""

import contextlib
from collections.abc import Callable, Iterator

from etils import epath

from infformer_jax import first_process, objects, paths
from infformer_jax.errors import UserError
from infformer_jax.lease import Held
from infformer_jax.lock import lock


@contextlib.contextmanager
def lock_workdir(workdir: epath.Path, say: Callable[[str], None]) -> Iterator[None]:
  """Reserves the work directory, which is created if necessary, for one training run until the block ends.

  Process 0 holds the lock for all processes of a run.

  Args:
    workdir: W.
    say: called with a line if the lock of a process that has ended is taken over.
  Raises:
    UserError: another run holds the lock, or the directory cannot be written; UnavailableError if a bucket
      cannot be reached. All processes raise it.
  """
  with contextlib.ExitStack() as stack:
    first_process.do(lambda: _acquire(workdir, say, stack))
    yield


def _acquire(workdir: epath.Path, say: Callable[[str], None], stack: contextlib.ExitStack) -> None:
  """Takes the lock, until the stack is closed."""
  try:
    if not paths.is_local(workdir):
      _check_bucket(workdir)
    stack.enter_context(lock(workdir / 'lock', say))
  except Held as held:
    holder = f' ({held})' if str(held) else ''
    raise UserError(
      f'another run{holder} is training in {workdir}; wait until it ends, or use another --workdir'
    ) from None
  except paths.errors() as error:
    written = workdir / 'lock' if isinstance(error, IsADirectoryError) else workdir
    raise paths.failure(error)(
      f'cannot write to {written}: {paths.reason(error)}; use a writable --workdir'
    ) from None


def _check_bucket(workdir: epath.Path) -> None:
  """Raises UserError if Orbax could not use the work directory."""
  if set('*?[') & set(str(workdir)):
    raise UserError(f'--workdir = {workdir} must not contain *, ? or [: Orbax searches for names in it')
  if not objects.may_see_bucket(workdir):
    raise UserError(
      f'cannot use {workdir}: Orbax needs the permission storage.buckets.get, as roles/storage.admin has it'
    )
