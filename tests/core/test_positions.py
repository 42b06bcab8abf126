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


def test_relative_scores_of_single_queries_equal_those_of_the_whole_segment():
  """Each row asks for one query of the segment, at its own place."""
  rng = np.random.default_rng(0)
  q_blhk, r_mhk = rng.normal(size=(1, 4, 2, 3)), jnp.asarray(rng.normal(size=(6, 2, 3)), toy.DTYPE)
  whole_hlm = positions.relative_scores(jnp.asarray(q_blhk, toy.DTYPE), r_mhk)[0]
  place_b = np.array([3, 0, 2])
  single_bhm = positions.relative_scores(
    jnp.asarray(q_blhk[0, place_b][:, None], toy.DTYPE), r_mhk, jnp.asarray(3 - place_b)[:, None]
  )[:, :, 0]
  for single_hm, place in zip(single_bhm, place_b, strict=True):
    assert toy.error(single_hm[:, : place + 3], whole_hlm[:, place, : place + 3]) < toy.TOLERANCE
