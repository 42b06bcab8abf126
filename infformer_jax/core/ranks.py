"""Arrays on the host or the device, with explicit ranks: core/ does not rely on implicit rank promotion."""

from typing import TypeVar

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
