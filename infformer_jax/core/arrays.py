"""Arrays on the host or the device, with explicit ranks and dtypes.

core/ relies neither on rank promotion nor on dtype promotion.
"""

import functools
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import Array

ArrayT = TypeVar('ArrayT', np.ndarray, Array)
"""An array on the host or on the device."""


def on_last_axis(a_n: ArrayT, ndim: int) -> ArrayT:
  """a [n] as an array of `ndim` axes, all of size 1 but the last.

  >>> on_last_axis(np.arange(3), 4).shape
  (1, 1, 1, 3)
  """
  return a_n.reshape((1,) * (ndim - 1) + a_n.shape)


def at_least_float32(*dtypes: jax.typing.DTypeLike) -> np.dtype:
  """The widest of floating dtypes and float32.

  >>> at_least_float32('bfloat16', 'float16')
  dtype('float32')
  """
  return functools.reduce(np.promote_types, map(jax.dtypes.canonicalize_dtype, dtypes), np.dtype(np.float32))
