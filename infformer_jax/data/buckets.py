"""Reading from buckets of Google Cloud Storage: lists of objects, and copies of them on a local disk."""

import base64
import functools
import logging
import os
import pathlib
import sys
from collections.abc import Mapping
from concurrent import futures
from typing import Any, NamedTuple

from etils import epath

from infformer_jax import files, paths
from infformer_jax.console import tracked
from infformer_jax.errors import UserError

_AT_ONCE = 32  # requests
_BLOCK = 2**20  # bytes in memory while a copy is read


class Stat(NamedTuple):
  """What a list of files says about one of them."""

  size: int  # bytes
  version: str  # another one if the content may have changed: the time, or in a bucket a checksum
  crc32c: str = ''  # the checksum that a bucket has for every object; '' on a disk


class Objects(NamedTuple):
  """The objects under a path in a bucket, by their names relative to it."""

  stats: dict[str, Stat]  # '' is the path itself
  left_out: list[str]  # those that have no place in a folder on a disk


def objects(root: epath.Path, key: str) -> Objects:
  """Lists the objects under a path in a bucket.

  Args:
    root: gs://bucket/name; the objects are those in gs://bucket/name/, at any depth.
    key: the key or flag that names it, and its value, for errors.
  Raises:
    UserError: the bucket does not exist or cannot be read; UnavailableError if it cannot be reached.
  """
  url = os.fspath(root).removeprefix('gs://').rstrip('/')
  try:
    found = _file_system(url.partition('/')[0]).find(url, detail=True, update_cache=False)
  except FileNotFoundError:
    raise UserError(f'{key} is in a bucket that does not exist; correct its name') from None
  except paths.errors() as error:
    problem = f'{key} cannot be read: {paths.reason(error)}; '
    if _is_refused(error):
      raise UserError(f'{problem}run: gcloud auth application-default login') from None
    raise paths.failure(error)(f'{problem}run the same command again') from None
  stats, left_out = {}, []
  for path, about in sorted(found.items()):
    name = path[len(url) + 1 :]
    if path.endswith('/') and not int(about['size']):  # It stands for an empty folder.
      continue
    if path != url and {'', '.', '..'} & set(name.split('/')):  # A copy would be elsewhere.
      left_out.append(name)
    else:
      version = about.get('md5Hash') or f'generation {about["generation"]}'
      # What is stored compressed arrives decompressed.
      crc32c = '' if about.get('contentEncoding') == 'gzip' else about.get('crc32c', '')
      stats[name] = Stat(int(about['size']), version, crc32c)
  return Objects(stats, left_out)


def missing(stats: Mapping[str, Stat], folder: pathlib.Path) -> dict[str, Stat]:
  """Those of the objects of which a local folder has no intact copy. All copies are read, at some GB/s."""
  names = tracked(list(stats), f'checking {folder}:', 'files')
  return {name: stats[name] for name in names if not _is_intact(folder / name, stats[name])}


def copy(root: epath.Path, stats: Mapping[str, Stat], folder: pathlib.Path) -> None:
  """Copies objects into a local folder, many at once. What is there already, intact, stays as it is.

  Every copy appears when it is complete, so that a killed process loses none. A machine that fails may leave
  empty ones.

  Args:
    root: the path in a bucket to which the names are relative.
    stats: the objects by their names, as `objects` returns them.
    folder: the local folder, into which no other process copies now.
  Raises:
    OSError, or another of `paths.errors`: an object cannot be read, or is not what the list says, or a file
      cannot be written.
  """
  url = os.fspath(root).removeprefix('gs://').rstrip('/')
  file_system = _file_system(url.partition('/')[0])

  incomplete = folder.with_suffix('.partial')

  def copy_one(number: int) -> None:
    name = names[number]
    partial, path = incomplete / str(number), folder / name
    file_system.get_file(f'{url}/{name}', os.fspath(partial), concurrency=1)
    if not _is_intact(partial, stats[name]):
      raise OSError(f'{name} has changed, or was damaged on the way')
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(path)

  names = list(missing(stats, folder))
  if not names:
    return
  if damaged := sum((folder / name).exists() for name in names):
    print(f'warning: damaged files in {folder}, which are copied again: {damaged}', file=sys.stderr)
  files.remove(incomplete)  # A killed process has left it.
  incomplete.mkdir(parents=True)
  pool = futures.ThreadPoolExecutor(_AT_ONCE)
  try:
    done = pool.map(copy_one, range(len(names)))
    for _ in zip(tracked(names, f'copying {root}:', 'files'), done, strict=True):
      pass
  finally:  # After an error or an interrupt, what has not begun is not begun.
    pool.shutdown(cancel_futures=True)
    files.remove(incomplete)


def _is_intact(path: pathlib.Path, stat: Stat) -> bool:
  if not path.exists() or not stat.crc32c:  # A copy appears when it is complete.
    return path.exists()
  return path.stat().st_size == stat.size and _crc32c(path) == stat.crc32c


def _crc32c(path: pathlib.Path) -> str:
  import google_crc32c

  checksum = google_crc32c.Checksum()
  with open(path, 'rb') as file:
    while block := file.read(_BLOCK):
      checksum.update(block)
  return base64.b64encode(checksum.digest()).decode()


@functools.cache
def _file_system(bucket: str) -> Any:
  """gcsfs without credentials if the bucket is public, and otherwise with those of the user or the machine.

  Credentials that have expired, or that lack a scope, would be refused for a public bucket as well.
  """
  import gcsfs.retry

  # Not gcsfs.GCSFileSystem, which asks for the type of the bucket by gRPC before every operation.
  from gcsfs.core import GCSFileSystem

  logging.getLogger('gcsfs').setLevel(logging.CRITICAL)  # It logs tracebacks of errors that it raises.
  anonymous = GCSFileSystem(token='anon', use_listings_cache=False)
  try:
    anonymous.call('GET', 'b/{}/o', bucket, maxResults=1, json_out=True)
  except (gcsfs.retry.HttpError, OSError) as error:
    if not _is_refused(error):
      raise
    return GCSFileSystem(use_listings_cache=False)
  return anonymous


def _is_refused(error: Exception) -> bool:
  """Whether an error of gcsfs says that the credentials are missing or not sufficient."""
  return getattr(error, 'code', None) in (401, 403) or str(error).startswith('Forbidden')
