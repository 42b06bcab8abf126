"""The three time axes: what a write moves, and where ages are, against tokens that are moved one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.time_axis import Geometric, Logarithmic, Uniform

L, H, SCALE = 8, 200.0, 4.0
AXES = {
  'geometric': Geometric(segment_length=L, contraction=0.75),
  'uniform': Uniform(segment_length=L),
  'log': Logarithmic(segment_length=L, horizon=H, scale=SCALE),
}
AGES = np.arange(3.0 * L)


@pytest.fixture(params=AXES)
def axis(request):
  return AXES[request.param]


def pushed(axis, writes):
  """The times of all tokens after so many writes, oldest first: each write moves those of the one before."""
  times = axis.new_times(1) if isinstance(axis, Logarithmic) else np.arange(1, L + 1) / L
  for write in range(1, writes):
    times = np.concatenate([axis.moved(times, write), axis.new_times(write)])
  return times


@pytest.mark.parametrize('writes', [1, 2, 3, 7])
def test_a_token_is_at_the_time_of_its_age_after_every_write(axis, writes):
  ages = np.arange(writes * L - 1.0, -1, -1)
  np.testing.assert_allclose(pushed(axis, writes), axis.time(ages, writes), atol=1e-12)


@pytest.mark.parametrize('writes', [3, 7])
def test_the_age_of_a_time_is_the_inverse(axis, writes):
  np.testing.assert_allclose(axis.age(axis.time(AGES, writes), writes), AGES, atol=1e-9)
  newest = axis.new_times(writes - 1)
  np.testing.assert_allclose(axis.age(newest, writes), np.arange(L - 1.0, -1, -1), atol=1e-9)
  assert (np.diff(newest) > 0).all()
  assert newest[-1] == 1


def test_times_are_those_of_the_definitions():
  geometric, uniform, log = AXES.values()
  # After three writes, tau is the edge between the newest two segments, tau² that of the next.
  np.testing.assert_allclose(geometric.time(np.array([0.0, 8, 16, 20, 24]), 3), [1, 0.75, 0.5625, 0.28125, 0])
  np.testing.assert_allclose(
    uniform.time(np.array([0.0, 6, 8, 24, 90]), 3), [1, 0.75, 2 / 3, 0, 0], atol=1e-15
  )
  # With H/a0 = 50 the age 4 · (51^(1/2) - 1) is in the middle.
  np.testing.assert_allclose(
    log.time(np.array([0.0, 4 * (51**0.5 - 1), 200, 999]), 3), [1, 0.5, 0, 0], atol=1e-15
  )


def test_octaves_of_age_have_equal_shares_of_a_logarithmic_axis():
  edges = AXES['log'].time(SCALE * (2.0 ** np.arange(6) - 1), 9)
  np.testing.assert_allclose(np.diff(edges), -1 / np.log2(51), rtol=1e-12)
  # It is the same after any number of writes, unlike the others.
  np.testing.assert_array_equal(AXES['log'].time(AGES, 3), AXES['log'].time(AGES, 30))
  for name in ('geometric', 'uniform'):
    assert AXES[name].time(np.array([20.0]), 3) != AXES[name].time(np.array([20.0]), 30)


def test_what_is_older_than_the_horizon_is_dropped():
  log = AXES['log']
  kept, dropped = log.moved(log.time(np.array([H - L - 1, H - L + 1]), 99), 99)
  assert kept > 0 > dropped
  times = log.time(np.array([H - 2 * L, H - L]), 99)
  np.testing.assert_allclose(log.moved(times[:1], 99), times[1:], atol=1e-12)


def test_a_document_starts_where_its_first_token_is():
  log, writes_b = AXES['log'], np.array([1, 2, 9, 25, 70])
  start_b = log.start(jnp.asarray(writes_b), jnp.float32)
  expected = [1 - np.log1p(min(L * k, H) / SCALE) / np.log1p(H / SCALE) for k in writes_b]
  np.testing.assert_allclose(start_b, expected, atol=1e-6)
  assert start_b.dtype == jnp.float32
  for start, k in zip(start_b[:3], writes_b[:3], strict=True):  # Just before the token of age k l - 1.
    assert 0 < pushed(log, k)[0] - start < 0.1
  assert log.start(jnp.array([0]), jnp.float32) == start_b[0]
  assert AXES['geometric'].start(jnp.array([3]), jnp.float32) is None
  assert AXES['uniform'].start(jnp.array([3]), jnp.float32) is None


def test_arrays_of_writes_and_devices_give_the_same_as_the_host(axis):
  u_bp, writes_b = np.random.default_rng(0).random((3, 5)), np.array([1.0, 2.0, 9.0])
  moved_bp = jax.jit(lambda u, w: axis.moved(u, w[:, None]))(
    u_bp.astype(np.float32), writes_b.astype(np.float32)
  )
  times_bl = jax.jit(axis.new_times)(writes_b.astype(np.float32))
  assert moved_bp.dtype == times_bl.dtype == jnp.float32
  for i, writes in enumerate([1, 2, 9]):
    np.testing.assert_allclose(moved_bp[i], axis.moved(u_bp[i], writes), atol=1e-6)
    np.testing.assert_allclose(times_bl[i], axis.new_times(writes), atol=1e-6)


def test_reading_stops_the_aging_of_a_logarithmic_axis_at_most(axis):
  """Sticky points at the very old or at the very new end move tokens no further than that, or not at all."""
  even_p = np.arange(1, 33) / 32
  np.testing.assert_allclose(axis.limited(jnp.asarray(even_p)[None])[0], even_p, atol=1e-6)
  for points_p in (np.full(32, 0.01), np.linspace(0.97, 1, 32)):
    limited_p = np.asarray(axis.limited(jnp.asarray(points_p, jnp.float32)[None])[0])
    if not isinstance(axis, Logarithmic):
      np.testing.assert_allclose(limited_p, points_p, rtol=1e-6)
      continue
    # What is sampled at x is written where even sampling would write u: half as far at least ...
    moved_p = axis.moved(even_p, 1)
    kept_p = moved_p > 0
    assert (limited_p - moved_p >= 0.5 * (even_p - moved_p) - 1e-6)[kept_p].all()
    # ... and one and a half times as far at most.
    assert (limited_p - moved_p <= 1.5 * (even_p - moved_p) + 1e-6).all()
    assert (np.diff(limited_p) >= -1e-6).all()
