"""Locks of folders that several machines may share, on a disk or in a bucket."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

from etils import epath

from infformer_jax import files, paths
from infformer_jax.lease import Held, lease


@contextlib.contextmanager
def lock(path: epath.Path, say: Callable[[str], None]) -> Iterator[None]:
  """Holds a lock until the block ends: that of a file, or a lease in a bucket.

  It does not wait for another holder. A file system that several machines share must lock across them, as NFS
  does.

  Args:
    path: the file, which remains and whose folder is created if necessary, or the object.
    say: called with a line if the lease of a process that has ended is taken over.
  Raises:
    Held: another process holds it; the message names it, if that is known.
    paths.errors(): the file system or the bucket refuses it.
  """
  with contextlib.ExitStack() as stack:
    if paths.is_local(path):
      path.parent.mkdir(parents=True, exist_ok=True)
      try:
        stack.enter_context(files.lock(pathlib.Path(path), wait=False))
      except BlockingIOError:
        raise Held from None
    else:
      stack.enter_context(lease(path, say))
    yield
