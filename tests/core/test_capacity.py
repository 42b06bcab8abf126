"""Capacity, effective rank and half-life: against a simulation, and their values for the presets."""

import dataclasses

import numpy as np
import pytest

from infformer_jax.core import capacity
from infformer_jax.core.basis import evaluate_on_host
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.signal import operators
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
    with pytest.raises(ConfigError, match="contraction = 'equal'"):
      measure(equal)
  assert capacity.effective_rank(equal) == capacity.effective_rank(SMALL)
