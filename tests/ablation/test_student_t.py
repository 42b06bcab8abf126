"""Critical values of Student's t, against published tables and SciPy."""

import pytest
import scipy.stats

from infformer_jax.ablation.student_t import critical_value


@pytest.mark.parametrize(
  ('level', 'degrees', 'expected'),
  [(0.05, 1, 12.706), (0.05, 2, 4.303), (0.01, 3, 5.841), (0.05, 4, 2.776), (0.1, 30, 1.697)],
)
def test_critical_values_are_those_of_tables(level, degrees, expected):
  assert critical_value(level, degrees) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize('degrees', [1, 2, 3, 4, 5, 10, 31, 1000])
def test_critical_values_of_corrected_levels_are_those_of_scipy(degrees):
  for windows in (1, 3, 20):
    expected = scipy.stats.t.isf(0.025 / windows, degrees)
    assert critical_value(0.05 / windows, degrees) == pytest.approx(expected, rel=1e-9)
