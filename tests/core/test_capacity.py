"""Capacity, what is held by age, rank, half-life: against simulations, and their values for the presets."""

import dataclasses

import numpy as np
import pytest

from infformer_jax.core import capacity
from infformer_jax.core.basis import evaluate_on_host
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.signal import first_operator, operators
from infformer_jax.core.signal_spec import SignalSpec, even_points
from infformer_jax.errors import ConfigError
from infformer_jax.memory.continuous_config import PUBLISHED_GPT2, PUBLISHED_SORTING, ContinuousConfig

SMALL = SignalSpec(
  basis=GaussianBasis(num_basis=8, widths=(0.75,)),
  segment_length=6,
  num_samples=12,
  contraction=0.6,
  ridge=0.5,
)


def test_capacity_equals_the_capacity_of_a_simulation():
  """R² between each past value and the signal at its present time, over many independent channels."""
  rng, writes, channels, tau = np.random.default_rng(0), 25, 60_000, SMALL.contraction
  constants = operators(SMALL)
  b_nd, x_sld = np.zeros((8, channels)), rng.normal(size=(writes, 6, channels))
  for x_ld in x_sld:
    b_nd = constants.carry_nn @ b_nd + constants.new_ln.T @ x_ld
  measured = 0.0
  for age in range(10):
    times_l = tau**age * (tau + (1 - tau) * even_points(6))
    signal_ld = evaluate_on_host(SMALL.basis, times_l) @ b_nd
    measured += sum(
      np.corrcoef(x_d, s_d)[0, 1] ** 2 for x_d, s_d in zip(x_sld[-1 - age], signal_ld, strict=True)
    )
  exact = capacity.capacity(SMALL)
  assert exact < 8
  np.testing.assert_allclose(measured, exact, atol=0.05)


def simulated_curve(spec, ages, writes):
  """The same over many independent channels; a read is the mean of the signal at the times of the tokens."""
  rng, channels = np.random.default_rng(0), 40_000
  values_wlc = rng.normal(size=(writes, spec.segment_length, channels)).astype(np.float32)
  b_nc = first_operator(spec).T @ values_wlc[0]
  for k in range(1, writes):
    constants = operators(spec, k)
    b_nc = constants.carry_nn @ b_nc + constants.new_ln.T @ values_wlc[k]
  newest_first = values_wlc.reshape(-1, channels)[::-1]
  held = []
  for age in ages:
    tokens = np.arange(int(0.95 * age), max(int(1.05 * age), int(0.95 * age) + 1))
    times = spec.axis.time(tokens.astype(float), writes)
    read_c = evaluate_on_host(spec.basis, times).mean(axis=0) @ b_nc
    held.append(np.corrcoef(read_c, newest_first[tokens].mean(axis=0))[0, 1] ** 2)
  return held


def with_contraction(contraction, num_basis=8):
  log = {'horizon': 60.0} if contraction == 'log' else {}
  basis = GaussianBasis(num_basis=num_basis, widths=(0.75,))
  return dataclasses.replace(SMALL, basis=basis, num_samples=3 * num_basis, contraction=contraction, **log)


@pytest.mark.parametrize('contraction', [0.6, 0.8, 'equal', 'log'])
def test_what_is_held_by_age_equals_that_of_a_simulation(contraction):
  """Ages in the middle of segments, at their edges, and beyond what is held."""
  ages = np.array([0.0, 1, 3, 6, 11, 12, 25, 40, 57, 80])
  spec = with_contraction(contraction)
  writes = 14 if contraction == 'equal' else 60  # Ages up to 84 need 14; else the state is nearly stationary.
  curve = capacity.curve(spec, ages)
  np.testing.assert_allclose(curve, simulated_curve(spec, ages, writes), atol=0.02)
  assert curve.max() > 0.4


TABLE = {
  (256, 0.75, None, None): [0.751, 0.936, 0.956, 0.955, 0, 0, 0],
  (256, 0.95, None, None): [0.153, 0.523, 0.518, 0.870, 0.901, 0.268, 0],
  (256, 'log', 64.0, 1024): [0.904, 0.907, 0.903, 0.911, 0.906, 0.905, 0.901],
  (512, 'log', 128.0, 1024): [0.909, 0.951, 0.963, 0.966, 0.964, 0.960, 0.956],
}


@pytest.mark.parametrize(
  'case', [*list(TABLE)[:3], *(pytest.param(case, marks=pytest.mark.slow) for case in list(TABLE)[3:])]
)
def test_what_the_contractions_hold_by_age(case):
  num_basis, contraction, scale, num_samples = case
  config = ContinuousConfig(
    num_basis=num_basis, contraction=contraction, scale=scale, num_samples=num_samples
  )
  held = capacity.curve(config.signal_spec(512), 64 * 4.0 ** np.arange(7))
  np.testing.assert_allclose(held, TABLE[case], atol=6e-4)


def test_the_horizon_is_where_the_curve_falls_below_one_half():
  for contraction, low, high in ((0.6, 12, 36), (0.8, 36, 100), ('log', 54, 66)):
    spec = with_contraction(contraction, num_basis=32)
    age = capacity.horizon(spec)
    assert low < age < high
    before, after = capacity.curve(spec, age * np.array([0.9, 1.1]))
    assert before > 0.5 > after


def test_a_signal_that_blurs_every_value_has_no_horizon():
  blurred = dataclasses.replace(SMALL, basis=GaussianBasis(num_basis=1), segment_length=64)
  assert capacity.horizon(blurred) == 0


def test_an_equal_contraction_holds_the_oldest_and_is_measured_for_documents_of_128_segments():
  equal = with_contraction('equal', num_basis=32)
  assert capacity.horizon(equal) == np.inf
  with pytest.raises(ConfigError, match="'equal' must be read at ages up to 768 tokens"):
    capacity.curve(equal, np.array([1000.0]))


def test_the_capacity_of_a_logarithmic_signal_counts_everything_up_to_its_horizon():
  """Against the sum over all tokens with products of whole matrices, for more writes than a horizon has."""
  spec = with_contraction('log')
  constants, covariance_nn = operators(spec), np.zeros((8, 8))
  map_nl, maps = constants.new_ln.T, []
  for _ in range(400):
    covariance_nn = covariance_nn + map_nl @ map_nl.T
    maps.append(map_nl)
    map_nl = constants.carry_nn @ map_nl
  expected = 0.0
  for age in range(60):
    write, back = divmod(age, 6)
    psi_n = evaluate_on_host(spec.basis, spec.axis.time(np.array([float(age)]), 20))[0]
    expected += (psi_n @ maps[write][:, 5 - back]) ** 2 / (psi_n @ covariance_nn @ psi_n)
  assert capacity.capacity(spec) == pytest.approx(expected, rel=1e-9)


def spec(num_basis, tau=0.75, width=0.75, num_samples=None):
  """Our preset with segments of 512 tokens."""
  config = ContinuousConfig(num_basis=num_basis, widths=(width,), contraction=tau, num_samples=num_samples)
  return config.signal_spec(512)


FAST = [(64, 0.5), (64, 0.75), (128, 0.5), (256, 0.5)]
SLOW = [(128, 0.75), (256, 0.75), (512, 0.5), (512, 0.75), (1024, 0.5), (1024, 0.75)]


@pytest.mark.parametrize(
  ('num_basis', 'tau'), [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_the_capacity_of_our_preset_is_close_to_num_basis(num_basis, tau):
  assert 0.98 * num_basis <= capacity.capacity(spec(num_basis, tau)) <= num_basis


def test_too_few_samples_reduce_the_capacity():
  assert capacity.capacity(spec(64, 0.5, 1.0, num_samples=64)) / 64 == pytest.approx(0.974, abs=5e-4)


@pytest.mark.parametrize(
  ('num_basis', 'share'),
  [
    (64, 0.989),
    (128, 0.994),
    *(pytest.param(n, s, marks=pytest.mark.slow) for n, s in [(256, 0.997), (512, 0.998)]),
  ],
)
def test_capacity_with_widths_of_one_spacing(num_basis, share):
  assert capacity.capacity(spec(num_basis, 0.5, 1.0)) / num_basis == pytest.approx(share, abs=5e-4)


PUBLISHED = {
  'gpt2': (PUBLISHED_GPT2.signal_spec(512), 0.466, 224, 8, 230),
  'sorting': (PUBLISHED_SORTING.signal_spec(1024), 0.226, 112, 14, 115),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_published_presets_have_a_fraction_of_the_capacity(name):
  preset, share, rank, half_life, _ = PUBLISHED[name]
  measured = capacity.measure(preset)
  assert measured.capacity / 512 == pytest.approx(share, abs=5e-4)
  assert measured.effective_rank == pytest.approx(rank, abs=0.5)
  assert measured.half_life == half_life


@pytest.mark.slow
@pytest.mark.parametrize('name', PUBLISHED)
def test_more_functions_of_a_fixed_width_do_not_increase_the_rank(name):
  preset, _, _, _, rank = PUBLISHED[name]
  basis = dataclasses.replace(preset.basis, num_basis=1024)
  assert capacity.effective_rank(dataclasses.replace(preset, basis=basis)) == pytest.approx(rank, abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(('tau', 'half_life'), [(0.75, 23), (0.5, 11)])
def test_half_life_with_widths_of_one_spacing(tau, half_life):
  assert capacity.half_life(spec(512, tau, 1.0)) == half_life


def test_capacity_and_half_life_reject_an_equal_contraction():
  equal = dataclasses.replace(SMALL, contraction='equal')
  for measure in (capacity.capacity, capacity.half_life):
    with pytest.raises(ConfigError, match='^contraction = .equal. .* not defined .* with every write$'):
      measure(equal)
  assert capacity.effective_rank(equal) == capacity.effective_rank(SMALL)
