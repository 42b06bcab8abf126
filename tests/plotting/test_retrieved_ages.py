"""Plots of the ages of retrieved neighbours."""

import numpy as np
import pytest

from infformer_jax.plotting import retrieved_ages
from infformer_jax.records import NeighboursRecord
from tests.plotting import inspections
from tests.plotting.figures import assert_is_labelled, assert_is_picture


def test_retrieved_ages_are_drawn_as_a_histogram(tmp_path):
  layer = 'layer 2'
  figure = retrieved_ages.ages({layer: inspections.neighbours()}, tmp_path / 'ages.png')
  assert_is_picture(tmp_path / 'ages.png', figure)
  assert_is_labelled(figure)
  (axes,) = figure.axes
  stairs = {patch.get_label(): patch.get_data() for patch in axes.patches}
  values, edges, _ = stairs['retrieved']
  assert values[np.searchsorted(edges, 4, 'right') - 1] == pytest.approx(75)
  assert values[np.searchsorted(edges, 40, 'right') - 1] == pytest.approx(25)
  values, edges, _ = stairs['the most similar']
  assert values[np.searchsorted(edges, 8, 'right') - 1] == pytest.approx(100)
  assert all(values.sum() == pytest.approx(100) for values, _, _ in stairs.values())


def test_layers_share_one_scale_of_ages(tmp_path):
  near = inspections.neighbours()
  far_a = np.zeros(2001, int)
  far_a[1500] = 5
  nothing_th = np.full((2000, inspections.HEADS), -1)
  far = NeighboursRecord(retrieved_a=far_a, expected_a=far_a / 5, held_th=nothing_th)
  figure = retrieved_ages.ages({'layer 0': near, 'layer 1': far}, tmp_path / 'ages.png')
  assert [axes.get_title(loc='left') for axes in figure.axes] == ['layer 0', 'layer 1']
  assert {axes.get_xlim() for axes in figure.axes} == {(1, 2048)}
