"""What all tests share."""

import os
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # The tolerances are those of float32, not of an accelerator's.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:  # Command lines would use the cache of the user.
  _compiled = tempfile.TemporaryDirectory()
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _compiled.name

import jax
import pytest


@pytest.fixture(autouse=True, scope='module')
def _compiled_programs_are_freed():
  """Hundreds of compiled programs in one process run out of memory mappings."""
  yield
  jax.clear_caches()
