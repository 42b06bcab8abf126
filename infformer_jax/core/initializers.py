"""Random initial values; a draw is a program of its own, compiled once per distribution, shape and dtype.

A program that draws all parameters of a model has a copy of the random number generator for each of them, and
its compile time grows with depth. Equal layers share these programs.
"""

import functools
from collections.abc import Callable

import jax

Axes = int | tuple[int, ...]
Initializer = Callable[..., jax.Array]
"""(key, shape, dtype) -> array."""


@functools.cache
def normal(std: float) -> Initializer:
  """Draws from a normal distribution with mean 0.

  >>> normal(0.02)(jax.random.key(0), (2, 3), 'float32').shape
  (2, 3)
  """
  return _compiled(jax.nn.initializers.normal(std))


@functools.cache
def fan_in(variance: float = 1.0, *, in_axis: Axes = -2, out_axis: Axes = -1) -> Initializer:
  """Draws weights from a truncated normal distribution with a variance of `variance` / number of inputs.

  Args:
    variance: of the outputs, for independent inputs of variance 1.
    in_axis: the axes of the inputs.
    out_axis: the axes of the outputs. Any other axis, such as that of a window, belongs to the inputs.
  """
  draw = jax.nn.initializers.variance_scaling
  return _compiled(draw(variance, 'fan_in', 'truncated_normal', in_axis=in_axis, out_axis=out_axis))


@functools.cache
def uniform(bound: float) -> Initializer:
  """Draws from [-bound, bound]."""
  return _compiled(lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound))


zeros: Initializer = jax.nn.initializers.zeros


def _compiled(draw: Initializer) -> Initializer:
  return jax.jit(draw, static_argnums=(1, 2))
