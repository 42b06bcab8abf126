"""Tests of formulas in float64; run JAX_ENABLE_X64=1 pytest tests/x64 in a separate process."""

import jax


def pytest_configure(config):
  assert jax.config.jax_enable_x64, 'run these tests separately: JAX_ENABLE_X64=1 pytest tests/x64'
