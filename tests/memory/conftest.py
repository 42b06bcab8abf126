"""memory/ must work without implicit dtype promotion and without rank promotion."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _strict_promotion():
  with jax.numpy_dtype_promotion('strict'), jax.numpy_rank_promotion('raise'):
    yield
