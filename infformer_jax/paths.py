"""Paths on local disks and in buckets of Google Cloud Storage.

The paths of work directories and of data are `epath.Path`s. Their local ones behave as those of pathlib. In a
bucket there are only objects, whose names have slashes: a folder exists while there is an object in it; one
write replaces an object at once; nothing can be appended, mapped into memory or locked.
"""

import importlib.util
import os
import pathlib
import re

from etils import epath

from infformer_jax.errors import ConfigError

_BUCKETS = 'gs://'


def parse(text: str, key: str) -> epath.Path:
  """The path that a user has written, absolute; ~ is the home directory.

  Args:
    text: a local path, or gs://bucket/name.
    key: the config key or flag, for errors.
  Raises:
    ConfigError: it is empty, has another scheme, names no bucket, or the libraries for buckets are missing.

  >>> parse('/runs/first', '--workdir')
  PosixGPath('/runs/first')
  >>> parse('s3://b/run', '--workdir')
  Traceback (most recent call last):
  infformer_jax.errors.ConfigError: --workdir = 's3://b/run' must be a local path or ...
  """
  if not text:  # pathlib would take it for the current directory.
    raise ConfigError(f"{key} = '' must be a path")
  scheme = re.match(r'[a-zA-Z][\w+.-]*://|gs:/', text)  # pathlib makes one slash of two.
  if scheme is None:
    return epath.Path(pathlib.Path(os.path.expanduser(text)).absolute())
  if scheme[0] != _BUCKETS:
    raise ConfigError(
      f"{key} = '{text}' must be a local path or begin with {_BUCKETS}; {scheme[0]} is not supported"
    )
  if not re.match(r'[\w.-]+(/|$)', text.removeprefix(_BUCKETS)):
    raise ConfigError(f"{key} = '{text}' must name a bucket, as in {_BUCKETS}bucket/run")
  if importlib.util.find_spec('gcsfs') is None:
    raise ConfigError(f"{key} = '{text}' needs more libraries; run: pip install infformer_jax[gcs]")
  _configure_buckets()
  return epath.Path(text)


def is_local(path: epath.Path) -> bool:
  """Whether the path is on a local or mounted disk, where files can be appended to, mapped and locked."""
  return not os.fspath(path).startswith(_BUCKETS)


def _configure_buckets() -> None:
  import fsspec.config

  # Where TensorFlow is installed, epath would use it, which takes seconds to import and retries otherwise.
  os.environ['EPATH_USE_TF'] = 'false'
  # gcsfs would never notice what other processes, or other libraries in this one, have written.
  fsspec.config.conf.setdefault('gcs', {})['use_listings_cache'] = False
