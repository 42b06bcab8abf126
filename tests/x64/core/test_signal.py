"""The operators of the signal, tested against stacked least-squares problems."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from infformer_jax.core import signal
from infformer_jax.core.basis import evaluate_on_host
from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.core.signal_spec import SignalSpec, even_points, later_times
from infformer_jax.memory.continuous_config import ContinuousConfig
from tests.golden import TOLERANCE
from tests.golden.report import relative_error

RNG = np.random.default_rng(0)
SHAPES = [(12, 8), (9, 8), (12, 7)]  # l, P


def spec(positions, length=12, num_samples=8):
  return SignalSpec(
    basis=GaussianBasis(num_basis=10, widths=(0.02, 0.08), width_unit='absolute'),
    segment_length=length,
    num_samples=num_samples,
    contraction=0.6,
    ridge=0.4,
    signal_positions=positions,
  )


def psi(basis, t_p):
  return scipy.stats.norm.pdf(np.asarray(t_p)[:, None], basis.centres_n, basis.sigmas_n)


def ridge(spec, times, values):
  stacked = np.concatenate([psi(spec.basis, times), np.sqrt(spec.ridge) * np.eye(spec.basis.num_basis)])
  targets = np.concatenate([values, np.zeros((spec.basis.num_basis, values.shape[1]))])
  return np.linalg.lstsq(stacked, targets, rcond=None)[0]


@pytest.mark.parametrize(('length', 'num_samples'), SHAPES)
def test_plain_writes_equal_stacked_regressions(length, num_samples):
  s = spec('plain', length, num_samples)
  b_nd, x_ld = RNG.normal(size=(10, 3)), RNG.normal(size=(length, 3))
  points_p = np.sort(RNG.uniform(size=num_samples))
  first = ridge(s, np.arange(1, length + 1) / length, x_ld)
  times = [
    *(0.6 * np.arange(1, num_samples + 1) / num_samples),
    *(0.6 + 0.4 * np.arange(1, length + 1) / length),
  ]
  later = ridge(s, times, np.concatenate([psi(s.basis, points_p) @ b_nd, x_ld]))
  written = signal.write(
    s, np.stack([b_nd] * 2), np.array([0, 1]), np.stack([x_ld] * 2), np.stack([points_p] * 2)
  )
  assert relative_error(written, np.stack([first, later])) < TOLERANCE


@pytest.mark.parametrize(('length', 'num_samples'), SHAPES)
def test_padded_writes_equal_stacked_regressions_with_zeros(length, num_samples):
  s = spec('padded', length, num_samples)
  b_nd, x_ld = RNG.normal(size=(10, 3)), RNG.normal(size=(length, 3))
  cells = (np.arange(-(length // 2), length + length // 2) + 0.5) / length
  inside = (cells > 0) & (cells < 1)
  values = np.zeros((len(cells), 3))
  values[inside] = x_ld
  first = ridge(s, cells, values)

  times, rows = later_times(s)
  outside = np.delete(times, np.arange(len(times))[rows])
  assert ((outside < 1e-12) | (outside > 1 - 1e-12)).all()
  assert -0.5 < outside.min() < -0.5 + 2 / (length + num_samples)
  values = np.zeros((len(times), 3))
  values[rows] = np.concatenate([psi(s.basis, even_points(num_samples)) @ b_nd, x_ld])
  later = ridge(s, times, values)
  written = signal.write(s, np.stack([b_nd] * 2), np.array([0, 3]), np.stack([x_ld] * 2))
  assert relative_error(written, np.stack([first, later])) < TOLERANCE


@pytest.mark.parametrize('positions', ['plain', 'padded'])
def test_an_update_is_linear_and_even_sampling_equals_even_points(positions):
  s = spec(positions)
  b, x = RNG.normal(size=(2, 2, 10, 3)), RNG.normal(size=(2, 2, 12, 3))
  update = functools.partial(signal.write, s, writes_b=jnp.ones(2, jnp.int32))
  mixed = update(b_bnd=2 * b[0] - b[1], x_bld=2 * x[0] - x[1])
  even = update(b_bnd=b[0], x_bld=x[0])
  np.testing.assert_allclose(mixed, 2 * even - update(b_bnd=b[1], x_bld=x[1]), atol=1e-12)
  even_bp = jnp.broadcast_to(even_points(8), (2, 8))
  np.testing.assert_allclose(update(b_bnd=b[0], x_bld=x[0], points_bp=even_bp), even, atol=1e-12)


@pytest.mark.parametrize(('positions', 'share'), [('padded', 0.545), ('plain', 0.996)])
def test_padding_attenuates_the_end_of_the_published_signal(positions, share):
  """After many writes of a constant, the signal at t = 1 is .55 of the constant (settings of GPT-2)."""
  basis = GaussianBasis(num_basis=512, widths=(0.005, 0.01), width_unit='absolute')
  constants = signal.operators(
    SignalSpec(
      basis=basis, segment_length=512, num_samples=512, contraction=0.5, ridge=0.5, signal_positions=positions
    )
  )
  b_n = np.linalg.solve(np.eye(512) - constants.carry_nn, constants.new_ln.sum(axis=0))
  assert float((psi(basis, [1.0]) @ b_n)[0]) == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize('family', [GaussianBasis, RectangularBasis, FourierBasis])
def test_equal_writes_equal_stacked_regressions_at_their_times(family):
  """Rows with different numbers of writes, sampled evenly and at given points; also on the host."""
  basis = family(num_basis=10)
  s = dataclasses.replace(spec('plain'), basis=basis, contraction='equal')
  b_nd, x_ld, points_p = RNG.normal(size=(10, 3)), RNG.normal(size=(12, 3)), np.sort(RNG.uniform(size=8))
  even_p = even_points(8)
  for points in (even_p, points_p):
    given = None if points is even_p else np.stack([points] * 4)
    writes_b = np.array([0, 1, 2, 9])
    written = signal.write(s, np.stack([b_nd] * 4), writes_b, np.stack([x_ld] * 4), given)
    for k, ours_nd in zip(writes_b.tolist(), written, strict=True):
      times, values = np.arange(1, 13) / 12, x_ld
      if k:
        times = np.concatenate([k / (k + 1) * even_p, (k + times) / (k + 1)])
        values = np.concatenate([evaluate_on_host(basis, points) @ b_nd, x_ld])
      psi_pn = evaluate_on_host(basis, times)
      expected_nd = np.linalg.solve(psi_pn.T @ psi_pn + 0.4 * np.eye(10), psi_pn.T @ values)
      assert relative_error(ours_nd, expected_nd) < TOLERANCE
      if k and points is even_p:
        constants = signal.operators(s, k)
        on_host = constants.carry_nn @ b_nd + constants.new_ln.T @ x_ld
        assert relative_error(on_host, expected_nd) < TOLERANCE


def test_equal_writes_give_all_segments_equal_shares_and_similar_accuracy():
  """Eight segments of noise that just fit into the memory; each finally has eight functions."""
  settings = {'basis': GaussianBasis(num_basis=64), 'segment_length': 64, 'num_samples': 512, 'ridge': 0.5}
  errors = {}
  for contraction in ('equal', 0.75):
    s = SignalSpec(contraction=contraction, **settings)
    noise = np.random.default_rng(1).normal(size=(8, 64, 200))
    smooth = np.apply_along_axis(lambda x: np.convolve(x, np.hanning(34)[1:-1] / 4, 'same'), 1, noise)
    b_nd = signal.first_operator(s).T @ smooth[0]
    times = [even_points(64)]
    for k in range(1, 8):
      constants, tau = signal.operators(s, k), s.axis.moved(1.0, k)
      b_nd = constants.carry_nn @ b_nd + constants.new_ln.T @ smooth[k]
      times = [tau * t for t in times] + [tau + (1 - tau) * even_points(64)]
    if contraction == 'equal':
      np.testing.assert_allclose(np.concatenate(times), np.arange(1, 513) / 512, atol=1e-12)
    inner = slice(16, 48)  # Away from the jumps between segments.
    errors[contraction] = np.array(
      [
        np.sqrt(np.mean((evaluate_on_host(s.basis, t)[inner] @ b_nd - x[inner]) ** 2))
        for t, x in zip(times, smooth, strict=True)
      ]
    )
  assert errors['equal'].max() < 2 * errors['equal'].min()
  assert errors[0.75].max() > 10 * errors[0.75].min()


LOG = SignalSpec(
  basis=GaussianBasis(num_basis=24),
  segment_length=6,
  num_samples=40,
  contraction='log',
  ridge=0.5,
  horizon=50.0,
)
H, A0 = 50, 24 / 4  # The default scale is a quarter of the functions.


def log_time(age):
  return 1 - np.log(1 + age / A0) / np.log(1 + H / A0)


def log_age(time):
  return A0 * ((1 + H / A0) ** (1 - time) - 1)


@pytest.mark.parametrize('family', [GaussianBasis, FourierBasis])
def test_logarithmic_writes_equal_stacked_regressions_of_the_ages_within_the_horizon(family):
  s = dataclasses.replace(LOG, basis=family(num_basis=24))
  b_nd, x_ld = RNG.normal(size=(24, 3)), RNG.normal(size=(6, 3))
  moved_p = log_time(log_age(even_points(40)) + 6)
  held_p = moved_p > 0
  assert 30 < held_p.sum() < 40
  times = np.concatenate([moved_p[held_p], log_time(np.arange(5, -1, -1))])
  psi_pn = evaluate_on_host(s.basis, times)
  for points in (even_points(40), np.sort(RNG.uniform(size=40))):
    given = None if points[-1] == 1 else np.stack([points] * 3)
    written = signal.write(s, np.stack([b_nd] * 3), np.array([0, 1, 9]), np.stack([x_ld] * 3), given)
    for old_nd, ours_nd in zip((0 * b_nd, b_nd, b_nd), written, strict=True):
      values = np.concatenate([(evaluate_on_host(s.basis, points) @ old_nd)[held_p], x_ld])
      expected = np.linalg.solve(psi_pn.T @ psi_pn + 0.5 * np.eye(24), psi_pn.T @ values)
      assert relative_error(ours_nd, expected) < TOLERANCE
  constants = signal.operators(s)
  on_host = constants.carry_nn @ b_nd + constants.new_ln.T @ x_ld
  even = signal.write(s, b_nd[None], np.array([3]), x_ld[None])[0]
  assert relative_error(even, on_host) < TOLERANCE


def test_the_first_logarithmic_write_is_the_update_of_an_empty_signal():
  x_bld = RNG.normal(size=(1, 6, 3))
  first = signal.write(LOG, RNG.normal(size=(1, 24, 3)), np.array([0]), x_bld)
  np.testing.assert_array_equal(first, signal.write(LOG, np.zeros((1, 24, 3)), np.array([4]), x_bld))


def test_samples_that_pass_the_horizon_do_not_affect_a_logarithmic_write():
  points_p = even_points(40)
  other_p = np.where(log_age(points_p) + 6 >= H, 0.5, points_p)
  assert (points_p != other_p).any()
  b_bnd, x_bld = RNG.normal(size=(1, 24, 3)), RNG.normal(size=(1, 6, 3))
  both = [signal.write(LOG, b_bnd, np.array([2]), x_bld, points[None]) for points in (points_p, other_p)]
  np.testing.assert_array_equal(*both)
  other_p[np.argmax(log_age(points_p) + 6 < H)] = 0.5  # The oldest sample that stays.
  changed = signal.write(LOG, b_bnd, np.array([2]), x_bld, other_p[None])
  assert relative_error(changed, both[0]) > 1e-3


@pytest.mark.parametrize('num_basis', [64, 128, 256, 512])
def test_default_logarithmic_signals_shrink_and_read_constants_back_at_every_age(num_basis):
  spec = ContinuousConfig(num_basis=num_basis, contraction='log').signal_spec(512)
  constants = signal.operators(spec)
  assert 0.9 < signal.growth(spec) < 1
  b_n = np.linalg.solve(np.eye(num_basis) - constants.carry_nn, constants.new_ln.sum(axis=0))
  ages_a = np.concatenate([[0], np.geomspace(1, 2e5, 300)])
  signal_a = evaluate_on_host(spec.basis, spec.axis.time(ages_a, 10_000)) @ b_n
  assert 0.93 < signal_a.min() <= signal_a.max() < 1.04  # The newest tokens are at the edge of the functions.
  np.testing.assert_allclose(signal_a[ages_a > 128], 1, atol=0.02)
