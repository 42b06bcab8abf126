"""Segments as rows: what is computed for all segments at once equals the computation one after another."""

import jax.numpy as jnp
import numpy as np

from infformer_jax.memory import rows


def test_rows_and_segments_are_inverses_with_the_lanes_outside():
  x_bs = jnp.arange(12).reshape(2, 3, 2)
  np.testing.assert_array_equal(rows.rows(x_bs)[:3], x_bs[0])
  np.testing.assert_array_equal(rows.by_segment(rows.rows(x_bs), 3), x_bs)


def test_a_scan_goes_over_the_segments_of_every_lane():
  x_bs = jnp.asarray([[1, 2, 3], [10, 20, 30]])
  state_b, sums_bs = rows.scan(lambda state, x_b: (state + x_b, state + x_b), jnp.zeros(2, int), x_bs)
  np.testing.assert_array_equal(sums_bs, np.cumsum(x_bs, axis=1))
  np.testing.assert_array_equal(state_b, [6, 60])
