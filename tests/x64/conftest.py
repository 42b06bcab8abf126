"""These tests hold formulas to float64: JAX_ENABLE_X64=1 pytest tests/x64, in a process of their own."""

import jax


def pytest_configure(config):
  assert jax.config.jax_enable_x64, 'run as JAX_ENABLE_X64=1 pytest tests/x64, alone'
