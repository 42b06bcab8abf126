"""The signal in float32; tests/x64/core/test_signal.py tests its operators against stacked regressions."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import signal
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.signal_spec import SignalSpec
from infformer_jax.core.sticky import points

SPEC = SignalSpec(
  basis=GaussianBasis(num_basis=32, widths=(0.75,)),
  segment_length=16,
  num_samples=48,
  contraction=0.75,
  ridge=0.5,
)
RNG = np.random.default_rng(0)
B_BND = RNG.normal(size=(3, 32, 5)).astype(np.float32)
X_BLD = RNG.normal(size=(3, 16, 5)).astype(np.float32)


def test_a_write_with_a_uniform_histogram_equals_the_even_update():
  points_bp = points(jnp.ones((3, 128)), SPEC.num_samples)
  writes_b = np.ones(3, np.int32)
  even = signal.write(SPEC, B_BND, writes_b, X_BLD)
  np.testing.assert_allclose(signal.write(SPEC, B_BND, writes_b, X_BLD, points_bp), even, rtol=0, atol=1e-5)


def test_every_row_is_written_according_to_its_own_number_of_writes():
  b_bnd = np.concatenate([np.full_like(B_BND[:1], np.nan), B_BND[1:]])  # Ignored in a first write.
  written = signal.write(SPEC, b_bnd, np.array([0, 1, 7], np.int32), X_BLD)
  later = signal.operators(SPEC)
  expected = [signal.first_operator(SPEC).T @ X_BLD[0]]
  expected += [later.carry_nn @ B_BND[i] + later.new_ln.T @ X_BLD[i] for i in (1, 2)]
  np.testing.assert_allclose(written, expected, rtol=0, atol=1e-5)


def test_the_signal_accumulates_in_float32_for_any_activation_dtype():
  writes_b = np.array([0, 1, 1], np.int32)
  low = jnp.asarray(X_BLD, jnp.bfloat16)
  written = signal.write(SPEC, B_BND, writes_b, low)
  assert written.dtype == jnp.float32
  np.testing.assert_array_equal(written, signal.write(SPEC, B_BND, writes_b, low.astype(jnp.float32)))


def test_float32_stays_close_to_float64_over_many_writes():
  first_ln, later = signal.first_operator(SPEC), signal.operators(SPEC)
  ours, exact = jnp.zeros((1, 32, 5)), np.zeros((32, 5))
  for i in range(60):
    x_ld = RNG.normal(size=(16, 5)).astype(np.float32)
    exact = first_ln.T @ x_ld if i == 0 else later.carry_nn @ exact + later.new_ln.T @ x_ld
    ours = signal.write(SPEC, ours, np.array([i], np.int32), x_ld[None])
  assert np.abs(ours[0] - exact).max() < 1e-5 * np.abs(exact).max()


def test_the_signal_reproduces_the_values_of_a_write():
  first = signal.write(SPEC, jnp.zeros((1, 32, 1)), np.zeros(1, np.int32), jnp.ones((1, 16, 1)))
  inner = np.linspace(0.1, 0.9, 50, dtype=np.float32)[None]
  np.testing.assert_allclose(signal.sample(SPEC.basis, first, inner), 1, atol=0.05)


def test_an_equal_contraction_in_float32_stays_close_to_float64():
  """With the default widths; every write solves its own regression."""
  spec = dataclasses.replace(SPEC, contraction='equal')
  first_ln = signal.first_operator(spec)
  ours, exact = jnp.zeros((1, 32, 5)), np.zeros((32, 5))
  for k in range(12):
    x_ld = RNG.normal(size=(16, 5)).astype(np.float32)
    later = signal.operators(spec, max(k, 1))
    exact = first_ln.T @ x_ld if k == 0 else later.carry_nn @ exact + later.new_ln.T @ x_ld
    ours = signal.write(spec, ours, np.array([k], np.int32), x_ld[None])
  assert np.abs(ours[0] - exact).max() < 1e-4 * np.abs(exact).max()


LOG = dataclasses.replace(SPEC, contraction='log', horizon=4000.0, num_samples=64)


def test_a_logarithmic_contraction_in_float32_stays_close_to_float64():
  """Past the horizon, which is 250 writes away."""
  later, exact = signal.operators(LOG), np.zeros((32, 5))
  rng = np.random.default_rng(1)
  ours = jnp.zeros((1, 32, 5))
  for k in range(300):
    x_ld = rng.normal(size=(16, 5)).astype(np.float32)
    exact = later.carry_nn @ exact + later.new_ln.T @ x_ld
    ours = signal.write(LOG, ours, np.array([k], np.int32), x_ld[None])
  assert np.abs(ours[0] - exact).max() < 1e-5 * np.abs(exact).max()


def test_the_part_before_the_start_stays_empty_also_if_the_samples_follow_reads_of_it():
  """Sticky: the histogram has most of its mass before the start, and peaks elsewhere."""
  rng = np.random.default_rng(1)
  b_bnd = jnp.zeros((2, 32, 5))
  for k in range(1, 8):
    writes_b = jnp.full(2, k - 1, jnp.int32)
    histogram_bj = jnp.asarray(rng.exponential(size=(2, 64)) ** 6, jnp.float32).at[:, :8].add(99.0)
    start_b = LOG.axis.start(writes_b, jnp.float32)
    points_bp = points(histogram_bj, LOG.num_samples, start_b=start_b)
    b_bnd = signal.write(LOG, b_bnd, writes_b, 1 + rng.normal(size=(2, 16, 5)).astype(np.float32), points_bp)
    start = float(LOG.axis.start(writes_b + 1, jnp.float32)[0])
    assert start > 0.15
    before, after = np.linspace(0, start - 2 / 31, 40), np.linspace(start, 1, 40)
    empty, full = (
      np.abs(signal.sample(LOG.basis, b_bnd, np.tile(t.astype(np.float32), (2, 1)))).max()
      for t in (before, after)
    )
    assert empty < 0.1 * full


def test_constants_are_computed_once_and_are_read_only():
  assert signal.operators(SPEC) is signal.operators(dataclasses.replace(SPEC))
  with pytest.raises(ValueError, match='read-only'):
    signal.operators(SPEC).carry_nn[0] = 0
