"""Leading axes and float32 conversion of arrays."""

import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.arrays import at_least_float32, on_last_axis


@pytest.mark.parametrize('array', [np.arange(3), jnp.arange(3)], ids=['host', 'device'])
def test_leading_axes_have_size_one(array):
  assert on_last_axis(array, 1).shape == (3,)
  assert on_last_axis(array, 3).shape == (1, 1, 3)


def test_narrow_dtypes_become_float32():
  assert at_least_float32(jnp.bfloat16) == jnp.float32
  assert at_least_float32(jnp.float32, jnp.float16) == jnp.float32
