"""Signal specs: the times of the values of a write, and invalid settings."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core.basis_families import FourierBasis, GaussianBasis
from infformer_jax.core.signal_spec import SignalSpec, even_points, first_times, later_times
from infformer_jax.errors import ConfigError

SPEC = SignalSpec(
  basis=GaussianBasis(num_basis=32, widths=(0.75,)),
  segment_length=4,
  num_samples=8,
  contraction=0.75,
  ridge=0.5,
)
EQUAL = dataclasses.replace(SPEC, contraction='equal')


def test_the_contraction_is_constant_or_keeps_all_segments_equal():
  assert [SPEC.axis.moved(1.0, k) for k in (1, 2, 9)] == [0.75] * 3
  assert [EQUAL.axis.moved(1.0, k) for k in (1, 2, 9)] == [1 / 2, 2 / 3, 9 / 10]


@pytest.mark.parametrize('spec', [SPEC, EQUAL])
def test_new_values_follow_the_contracted_old_signal_up_to_its_end(spec):
  for k in (1, 2, 9):
    tau, times_l = spec.axis.moved(1.0, k), spec.axis.new_times(k)
    assert times_l.dtype == np.float64
    np.testing.assert_allclose(np.diff([tau, *times_l]), (1 - tau) / 4, atol=1e-15)
    assert times_l[-1] == 1
    times, values = later_times(spec, k)
    np.testing.assert_array_equal(times[values], [*(tau * even_points(8)), *times_l])


@pytest.mark.parametrize('spec', [SPEC, EQUAL])
@pytest.mark.parametrize('transform', [lambda f: f, jax.jit])
def test_new_times_for_an_array_of_counts_equal_those_of_each_count(spec, transform):
  times_bl = transform(lambda writes_b: spec.axis.new_times(writes_b))(
    jnp.array([1.0, 2.0, 9.0], jnp.float32)
  )
  assert times_bl.dtype == jnp.float32
  np.testing.assert_allclose(times_bl, [spec.axis.new_times(k) for k in (1, 2, 9)], rtol=1e-6)


@pytest.mark.parametrize('length', [3, 4])
def test_padded_times_increase_and_the_times_of_the_values_lie_within_the_signal(length):
  spec = dataclasses.replace(SPEC, signal_positions='padded', segment_length=length)
  for (times, values), count in ((first_times(spec), length), (later_times(spec), length + 8)):
    assert (np.diff(times) > 0).all()
    assert len(times[values]) == count
    assert times[values].min() > 0
    assert times[values].max() <= 1
    assert -0.5 < times[0] < 0
    assert 1 < times[-1] < 1.5


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'contraction': 1.0}, 'contraction = 1.0 must be in .0, 1.'),
    (
      {'contraction': 'equal', 'signal_positions': 'padded'},
      "signal_positions = 'padded' must be 'plain' unless",
    ),
    ({'ridge': 0.0}, 'ridge = 0.0 must be positive'),
    (
      {'basis': FourierBasis(num_basis=8), 'signal_positions': 'padded'},
      "signal_positions = 'padded' must be 'plain' unless",
    ),
    ({'num_samples': 0}, r'num_samples = 0 must be in \[1, '),
    ({'num_samples': 2**31 - 1}, r'num_samples = 2147483647 must be in \[1, 65,536\]'),
  ],
)
def test_invalid_settings_are_rejected(change, message):
  with pytest.raises(ConfigError, match=message):
    dataclasses.replace(SPEC, **change)
