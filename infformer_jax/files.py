"""Files that are written at once, also in buckets; on local disks, also folders, and locks of processes."""

import contextlib
import fcntl
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from infformer_jax import objects, paths
from infformer_jax.errors import UserError


@contextlib.contextmanager
def write_atomically(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path beside `path`; the file or folder written there becomes `path`.

  It replaces `path` when the block ends without an error, and is removed otherwise. Readers see the old
  content or the new one. Several processes may write the same path: the last one wins.

  Raises:
    OSError: the file system refuses it.
  """
  with temporary(path) as partial:
    yield partial
    replace(partial, path)


@contextlib.contextmanager
def temporary(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a unique path beside `path`; what is still there when the block ends is removed.

  A process that is killed leaves its temporary file behind (see `remove_partial`).
  """
  partial = path.with_name(f'{path.name}.{secrets.token_hex(4)}.partial')
  try:
    yield partial
  finally:
    remove(partial)


def replace(partial: pathlib.Path, path: pathlib.Path) -> None:
  """Renames a temporary file or folder, which replaces what is at `path`.

  Raises:
    OSError: the file system refuses it.
  """
  if partial.is_dir() and path.exists():  # A folder cannot replace a folder that holds something.
    old = partial.with_suffix('.replaced.partial')
    path.rename(old)
    partial.rename(path)
    remove(old)
  else:
    partial.replace(path)


def write_bytes(path: os.PathLike[str], content: bytes) -> None:
  """Writes a file atomically, on a disk or in a bucket. Its folder is created if necessary.

  Raises:
    paths.errors(): the file system or the bucket refuses it.
  """
  if paths.is_local(path):
    local = pathlib.Path(path)
    local.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(local) as partial:
      partial.write_bytes(content)
  else:
    objects.write(path, content)


def write_text(path: os.PathLike[str], text: str) -> None:
  """Writes a UTF-8 text file, as `write_bytes`."""
  write_bytes(path, text.encode())


def write_json(path: os.PathLike[str], content: Any) -> None:
  """Writes a JSON file, indented, as `write_bytes`.

  Raises:
    ValueError: a number is not finite.
  """
  write_text(path, json.dumps(content, indent=2, allow_nan=False) + '\n')


def read_json(path: os.PathLike[str], keys: Mapping[str, type] = MappingProxyType({})) -> dict[str, Any]:
  """The object in a JSON file.

  Args:
    path: the file.
    keys: that it must have, and the types of their values; object: any.
  Raises:
    UserError: the file is missing or damaged, or one of `keys` is missing or has another type; names it.
  """
  try:
    content = json.loads(paths.read_bytes(path))
  except paths.errors() as error:
    raise UserError(f'cannot read {path}: {paths.reason(error)}') from None
  except (ValueError, RecursionError) as error:
    raise UserError(f'{path} is damaged ({error}); restore or remove it') from None
  if not isinstance(content, dict):
    raise UserError(f'{path} is damaged (no JSON object); restore or remove it')
  for key, type_ in sorted(keys.items()):
    if key not in content:
      raise UserError(f'{path} is damaged (no {key}); restore or remove it')
    if not isinstance(content[key], type_):
      problem = f'{key} is a {type(content[key]).__name__}, not a {type_.__name__}'
      raise UserError(f'{path} is damaged ({problem}); restore or remove it')
  return content


def remove_partial(path: pathlib.Path) -> None:
  """Removes what killed processes have left of `path`. Only for those who hold a lock on writing it."""
  for partial in path.parent.glob(f'{path.name}.*.partial'):
    remove(partial)


def remove(path: os.PathLike[str]) -> None:
  """Removes what is at a local path, of any kind, as far as it can be removed."""
  path = pathlib.Path(path)
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path, ignore_errors=True)
  else:  # rmtree would open a pipe, and wait for a writer.
    with contextlib.suppress(OSError):
      path.unlink()


@contextlib.contextmanager
def lock(path: pathlib.Path, *, wait: bool) -> Iterator[None]:
  """Holds an exclusive lock on a file, which is created if necessary, until the block ends.

  The kernel releases the lock when the process ends, however it ends.

  Args:
    path: the file; its content is left as it is.
    wait: whether to wait for a process that holds the lock.
  Raises:
    BlockingIOError: another process holds the lock, and `wait` is False.
    OSError: the file cannot be opened, or is no regular file.
  """
  if path.exists():
    paths.require_regular(path)
  with open(path, 'a') as file:
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
