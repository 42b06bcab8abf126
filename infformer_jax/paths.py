"""Paths on local disks and in buckets of Google Cloud Storage.

The paths of work directories and of data are `epath.Path`s. Their local ones behave as those of pathlib. In a
bucket there are only objects, whose names have slashes: a folder exists while there is an object in it; one
write replaces an object at once; nothing can be appended, mapped into memory or locked.
"""

import errno
import importlib.util
import logging
import os
import pathlib
import re
import stat
import sys

from etils import epath

from infformer_jax.errors import ConfigError, UnavailableError, UserError

BUCKETS = 'gs://'
_ERRORS = {
  'aiohttp': 'ClientError',
  'gcsfs.retry': 'HttpError',
  'google.api_core.exceptions': 'GoogleAPIError',
  'google.auth.exceptions': 'GoogleAuthError',
}


def parse(text: str, key: str) -> epath.Path:
  """The path that a user has written, absolute; ~ is the home directory.

  Args:
    text: a local path, or gs://bucket/name.
    key: the config key or flag, for errors.
  Raises:
    ConfigError: it is empty, has a character that no path has, has another scheme, names no bucket, has '..'
      in one, or the libraries for buckets are missing.

  >>> parse('/runs/first', '--workdir')
  PosixGPath('/runs/first')
  >>> parse('s3://b/run', '--workdir')
  Traceback (most recent call last):
  infformer_jax.errors.ConfigError: --workdir = 's3://b/run' must be a local path or ...
  """
  if not text:  # pathlib would take it for the current directory.
    raise ConfigError(f"{key} = '' must be a path")
  try:
    possible = b'\0' not in os.fsencode(text)
  except UnicodeEncodeError:  # JSON can hold half of a surrogate pair.
    possible = False
  if not possible:
    raise ConfigError(f'{key} = {text!r} has a character that no path can have; correct it')
  # pathlib makes one slash of two.
  scheme = re.match(r'[a-zA-Z][\w+.-]*://|(gs|gcs|s3|hdfs|https?|file):/?', text)
  if scheme is None:
    return epath.Path(pathlib.Path(os.path.expanduser(text)).absolute())
  if scheme[0] != BUCKETS:
    raise ConfigError(
      f"{key} = '{text}' must be a local path or begin with {BUCKETS}; {scheme[0]} is not supported"
    )
  if not re.match(r'[\w.-]+(/|$)', text.removeprefix(BUCKETS)):
    raise ConfigError(f"{key} = '{text}' must name a bucket, as in {BUCKETS}bucket/run")
  if '..' in text.split('/'):  # Addresses of objects would lose it, in some libraries.
    raise ConfigError(f"{key} = '{text}' must not have '..': a bucket has no folders")
  if importlib.util.find_spec('gcsfs') is None:
    raise ConfigError(f"{key} = '{text}' needs more libraries; run: pip install infformer_jax[gcs]")
  _configure_buckets()
  return epath.Path(text)


def is_local(path: os.PathLike[str]) -> bool:
  """Whether the path is on a local or mounted disk, where files can be appended to, mapped and locked."""
  return not os.fspath(path).startswith(BUCKETS)


def require_regular(path: os.PathLike[str]) -> None:
  """Checks that what is at a path has an end: reading a pipe without a writer, or a device, may never return.

  Raises:
    OSError: it is a pipe, a socket or a device, or a local path at which there is nothing.
  """
  if is_local(path) and stat.S_IFMT(os.stat(path).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
    raise OSError(errno.EINVAL, 'not a regular file', os.fspath(path))


def read_bytes(path: os.PathLike[str]) -> bytes:
  """The content of a regular file, on a disk or in a bucket.

  Raises:
    errors(): it cannot be read, or it is no regular file.
  """
  require_regular(path)
  return epath.Path(path).read_bytes()


def user_cache() -> pathlib.Path:
  """The directory on a local disk for what this user's runs share and can make again."""
  return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'infformer_jax'


def errors() -> tuple[type[Exception], ...]:
  """What an operation on a path raises if it fails: OSError, and the errors of the libraries for buckets."""
  return (OSError, *bucket_errors())


def bucket_errors() -> tuple[type[Exception], ...]:
  """What the libraries for buckets raise besides OSError; those that are not loaded raise nothing."""
  return tuple(getattr(sys.modules[name], error) for name, error in _ERRORS.items() if name in sys.modules)


def failure(error: Exception) -> type[UserError]:
  """The type of the user's error that `errors` becomes.

  That of a bucket may not occur again, unless the bucket has answered that the request is wrong (status 4xx).
  """
  may_pass = isinstance(error, bucket_errors()) and not _is_wrong(getattr(error, 'code', None))
  return UnavailableError if may_pass else UserError


def reason(error: Exception) -> str:
  """What `errors` says, in one line."""
  if type(error) is FileNotFoundError:  # That of gcsfs has only the name of the object.
    return 'No such file or directory'
  text = getattr(error, 'strerror', None) or ' '.join(str(error).split()) or type(error).__name__
  return text if len(text) < 200 else text[:197] + '...'


def _is_wrong(status: object) -> bool:
  """Whether it is one of 4xx, except for a timeout (408) and for too many requests (429).

  >>> _is_wrong(404), _is_wrong(503)
  (True, False)
  """
  return str(status).startswith('4') and str(status) not in ('408', '429')


def _configure_buckets() -> None:
  import fsspec
  import fsspec.config

  # Where TensorFlow is installed, epath would use it, which takes seconds to import and retries otherwise.
  os.environ['EPATH_USE_TF'] = 'false'
  fsspec.register_implementation('gcs', 'infformer_jax.patient_gcs.PatientGCSFileSystem', clobber=True)
  # gcsfs would ask for the type of a bucket before each operation, in another protocol.
  os.environ.setdefault('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')
  # gcsfs would never notice what other processes, or other libraries in this one, have written.
  fsspec.config.conf.setdefault('gcs', {})['use_listings_cache'] = False
  # They log what the errors say that they raise.
  for library in ('fsspec', 'gcsfs', 'google.auth'):
    logging.getLogger(library).setLevel(logging.CRITICAL)
