"""nn/ must work without rank promotion. Only nnx promotes dtypes: its norms promote bfloat16 activations."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _no_rank_promotion():
  with jax.numpy_rank_promotion('raise'):
    yield
