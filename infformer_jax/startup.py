"""The start of the command lines that compute: a compilation cache, memory that is kept, no log of Orbax."""

import errno
import os
import re
import sys

import jax
from absl import flags

from infformer_jax import allocator, paths
from infformer_jax.train.orbax_log import silence_orbax

_MIN_COMPILE_SECONDS = 0.1
"""Programs that compile faster are not cached: reading them takes as long."""

_THREADS_PER_DEVICE = 16

_COMPILATION_CACHE = flags.DEFINE_bool(
  'compilation_cache',
  True,
  'cache compiled programs on disk, in $JAX_COMPILATION_CACHE_DIR or ~/.cache/infformer_jax/compiled',
)


def prepare() -> None:
  """Call this once, before JAX has devices."""
  silence_orbax()
  jax.config.update('jax_platforms', with_cpu(jax.config.jax_platforms))  # type: ignore[attr-defined]
  if allocator.only_cpus():
    allocator.keep_freed_memory()
  widen_thread_pool()
  if _COMPILATION_CACHE.value:
    use_compilation_cache()
  else:
    jax.config.update('jax_enable_compilation_cache', False)


def widen_thread_pool() -> None:
  """Gives the devices of this CPU enough threads, if there are several; before JAX has devices.

  They share a pool, by default of as many threads as there are cores or devices. Collectives that do not
  depend on each other fill it with threads that wait for each other, until XLA aborts. XLA takes the size of
  the pool from $NPROC; one that is set remains.
  """
  devices = host_devices()
  if devices > 1:
    os.environ.setdefault('NPROC', str(_THREADS_PER_DEVICE * devices))


def host_devices() -> int:
  """How many devices the CPU is to have, by jax_num_cpu_devices or $XLA_FLAGS; JAX is not asked."""
  asked: int = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
  if asked > 0:  # -1: $XLA_FLAGS says it, or there is one.
    return asked
  # As for XLA, the last one holds.
  flags = re.findall(r'--xla_force_host_platform_device_count=(\d+)', os.environ.get('XLA_FLAGS', ''))
  return int(flags[-1]) if flags else 1


def with_cpu(platforms: str | None) -> str | None:
  """The platforms of $JAX_PLATFORMS and the CPU, which counts the FLOPs of a model; None: all that there are.

  >>> with_cpu('cuda'), with_cpu('tpu,cpu'), with_cpu(None)
  ('cuda,cpu', 'tpu,cpu', None)
  """
  if not platforms or 'cpu' in platforms.split(','):
    return platforms
  return f'{platforms},cpu'


def use_compilation_cache() -> None:
  """Caches compiled programs on disk, for other processes and later starts.

  The variables JAX_COMPILATION_CACHE_DIR and JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS have precedence. This
  prints a warning, and there is no cache, if the directory cannot be written. JAX prints a warning and
  compiles if an entry cannot be read or written.
  """
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', _MIN_COMPILE_SECONDS)
  if 'JAX_COMPILATION_CACHE_DIR' in os.environ:
    return
  directory = paths.user_cache() / 'compiled'
  try:
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
  except OSError as error:
    print(f'warning: no compilation cache in {directory}: {error.strerror}', file=sys.stderr)
    return
  jax.config.update('jax_compilation_cache_dir', str(directory))
