"""What the command lines that compute do first: a compilation cache, and no log of Orbax."""

import errno
import os
import pathlib
import sys

import jax
from absl import flags

from infformer_jax.train.orbax_log import hush_orbax

_MIN_COMPILE_SECONDS = 0.1
"""Programs that compile faster are not kept: many small ones, which take as long to read."""

_COMPILATION_CACHE = flags.DEFINE_bool(
  'compilation_cache',
  True,
  'keep compiled programs for later starts, in $JAX_COMPILATION_CACHE_DIR or ~/.cache/infformer_jax/compiled',
)


def prepare() -> None:
  """To be called once, before JAX compiles anything."""
  hush_orbax()
  if _COMPILATION_CACHE.value:
    use_compilation_cache()
  else:
    jax.config.update('jax_enable_compilation_cache', False)


def use_compilation_cache() -> None:
  """Keeps compiled programs on disk, where other processes and later starts find them.

  The variables JAX_COMPILATION_CACHE_DIR and JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS have precedence. A
  directory that cannot be written costs a warning, never the run: JAX warns of entries that it cannot read or
  write, and compiles.
  """
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', _MIN_COMPILE_SECONDS)
  if 'JAX_COMPILATION_CACHE_DIR' in os.environ:
    return
  base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  directory = pathlib.Path(base).expanduser() / 'infformer_jax' / 'compiled'
  try:
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
  except OSError as error:
    print(f'warning: no compilation cache in {directory}: {error.strerror}', file=sys.stderr)
    return
  jax.config.update('jax_compilation_cache_dir', str(directory))
