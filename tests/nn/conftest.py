"""nn/ relies on no rank promotion. Dtypes are promoted by nnx alone: its norms, of bfloat16 activations."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _no_rank_promotion():
  with jax.numpy_rank_promotion('raise'):
    yield
