"""Random initial values: their distribution, and that equal draws share a program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import initializers
from tests.bits import bits

KEY = jax.random.key(3)


def test_normal_draws_have_the_standard_deviation():
  x = initializers.normal(0.02)(KEY, (200, 100), jnp.float32)
  assert x.mean() == pytest.approx(0, abs=1e-3)
  assert x.std() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize(
  ('shape', 'axes', 'inputs'),
  [
    ((100, 200), {}, 100),
    ((3, 40, 50), {}, 120),  # A window is summed over.
    ((40, 5, 20), {'in_axis': 0, 'out_axis': (1, 2)}, 40),
    ((4, 10, 50), {'in_axis': (0, 1), 'out_axis': 2}, 40),
  ],
)
def test_the_variance_is_divided_by_the_number_of_inputs(shape, axes, inputs):
  w = initializers.fan_in(0.5, **axes)(KEY, shape, jnp.float32)
  assert w.var() == pytest.approx(0.5 / inputs, rel=0.05)
  assert np.abs(w).max() < 2.3 * w.std()  # Normal draws of this number exceed 3.


def test_uniform_draws_fill_the_interval():
  x = initializers.uniform(0.1)(KEY, (200, 100), jnp.float32)
  assert np.abs(x).max() <= 0.1
  assert x.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize('draw', [initializers.normal(0.02), initializers.fan_in(2.0)])
def test_a_draw_is_the_same_inside_of_a_larger_program(draw):
  both = jax.jit(lambda key: [draw(jax.random.fold_in(key, i), (7, 5), jnp.float32) for i in range(2)])(KEY)
  for i, inside in enumerate(both):
    assert np.array_equal(bits(inside), bits(draw(jax.random.fold_in(KEY, i), (7, 5), jnp.float32)))


def test_equal_draws_share_a_program():
  assert initializers.normal(0.3) is initializers.normal(0.3)
  draw = initializers.fan_in(0.7, in_axis=0, out_axis=(1, 2))
  assert draw is initializers.fan_in(0.7, in_axis=0, out_axis=(1, 2))
  for number in range(3):
    draw(jax.random.key(number), (2, 3, 4), jnp.float32)
  assert draw._cache_size() == 1
