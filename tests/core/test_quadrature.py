"""Quadrature rules on [0, 1]."""

import numpy as np
import pytest

from infformer_jax.core.quadrature import Cells, Trapezoid

RULES = [Cells(7), Trapezoid(2), Trapezoid(9)]


@pytest.mark.parametrize('rule', RULES, ids=str)
def test_weights_sum_to_one_and_integrate_a_line_exactly(rule):
  np.testing.assert_allclose(rule.weights_p.sum(), 1, rtol=1e-14)
  np.testing.assert_allclose(rule.weights_p @ (3 * rule.times_p + 1), 2.5, rtol=1e-14)


@pytest.mark.parametrize('rule', RULES, ids=str)
def test_the_mass_of_every_node_lies_in_the_unit_interval(rule):
  cumulative_pj = rule.cumulative(np.linspace(0, 1, 101))
  assert (np.diff(cumulative_pj) >= 0).all()
  np.testing.assert_allclose(cumulative_pj[:, -1] - cumulative_pj[:, 0], 1, rtol=1e-12)


def test_equal_densities_at_all_nodes_have_a_uniform_histogram():
  times_j = np.linspace(0, 1, 11)
  for rule in RULES:
    masses_j = rule.weights_p @ np.diff(rule.cumulative(times_j))
    np.testing.assert_allclose(masses_j, 0.1, rtol=1e-12)
