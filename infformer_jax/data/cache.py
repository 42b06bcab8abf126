"""The cache directory of the data: on a local disk, shared by runs, and safe to delete at any time."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator

from infformer_jax import files
from infformer_jax.errors import UserError

TAG = 'CACHEDIR.TAG'
_TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# This directory can be deleted at any time (https://bford.info/cachedir/).
"""


@contextlib.contextmanager
def locked(cache_dir: pathlib.Path, part: str, name: str) -> Iterator[pathlib.Path]:
  """Holds a lock on an entry of the cache; of several processes, one makes it, and the others wait.

  A folder that exists and may not be written is not locked: what is there can be read.

  Args:
    cache_dir: created if necessary.
    part: the folder in it.
    name: of the entry.
  Yields:
    The folder. What cannot be written there while the lock is held is an error of the user.
  Raises:
    UserError: the directory cannot be written, or its disk is full.
  """
  folder = cache_dir / part
  try:
    if folder.is_dir() and not os.access(folder, os.W_OK):
      yield folder
      return
    folder.mkdir(parents=True, exist_ok=True)
    if not (cache_dir / TAG).exists():
      files.write_text(cache_dir / TAG, _TAG_TEXT)
    with contextlib.ExitStack() as stack:
      try:
        stack.enter_context(files.lock(folder / f'{name}.lock', wait=False))
      except BlockingIOError:
        print(f'waiting for the process that writes {folder / name}', file=sys.stderr)
        stack.enter_context(files.lock(folder / f'{name}.lock', wait=True))
      yield folder
  except OSError as error:
    raise UserError(
      f'cannot write to data.cache_dir = {cache_dir}: {error.strerror or error}; make space there, or use a '
      'directory on another local disk'
    ) from None
