"""What all tests share."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # The tolerances are those of float32, not of an accelerator's.

import jax
import pytest


@pytest.fixture(autouse=True, scope='module')
def _compiled_programs_are_freed():
  """Hundreds of compiled programs in one process run out of memory mappings."""
  yield
  jax.clear_caches()
