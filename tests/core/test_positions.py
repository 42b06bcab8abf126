"""The relative shift of position scores."""

import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import positions
from tests import toy


def test_the_relative_shift_equals_the_drawn_example():
  by_distance = jnp.array([[3, 2, 1, 0], [3, 2, 1, 0]], toy.DTYPE)
  by_key = positions.relative_shift(by_distance)
  assert np.array_equal(np.where(np.tri(2, 4, 2), by_key, -1), [[2, 1, 0, -1], [3, 2, 1, 0]])


@pytest.mark.parametrize(('length', 'width'), [(3, 7), (4, 4), (1, 5)])
def test_the_relative_shift_aligns_every_distance_with_its_key(length, width):
  by_distance = np.broadcast_to(np.arange(width)[::-1], (length, width))
  distance = (width - length) + np.arange(length)[:, None] - np.arange(width)
  seen = distance >= 0
  assert np.array_equal(positions.relative_shift(jnp.asarray(by_distance, toy.DTYPE))[seen], distance[seen])
