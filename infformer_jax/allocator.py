"""The memory allocator of the process, where the devices are CPUs."""

import ctypes
import importlib.util
import os
import sys

# Parameters of mallopt, in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
  """Keeps freed memory for the next allocation instead of returning it to the system; only with glibc.

  XLA allocates the buffers of a program on CPUs anew in every call. By default, glibc gets large ones from
  the system, which has to clear every page (docs/performance.md has the cost). XLA must not have devices yet,
  because its threads would already have arenas, whose size is limited.
  """
  if sys.platform == 'linux':
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', lambda parameter, value: 0)  # Not in every C library.
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_ARENA_MAX, 1)


def only_cpus() -> bool:
  """Whether the devices of JAX are CPUs; JAX is not asked, because it would create them."""
  accelerators = ('libtpu', 'jax_plugins')  # The latter are the packages of GPUs.
  return os.environ.get('JAX_PLATFORMS') == 'cpu' or not any(map(importlib.util.find_spec, accelerators))
