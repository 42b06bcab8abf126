"""Ticks of age: which ages an axis shows, and where."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from infformer_jax.plotting import ages


def test_ticks_are_round_ages_that_are_held_and_far_enough_apart():
  times = np.linspace(0, 1, 101)
  assert ages.ticks(times, 100 * (1 - times)) == {
    age: pytest.approx(1 - age / 100)
    for age in (16, 32, 64)  # 2, 4 and 8 are too close to the newest end.
  }
  # On a logarithmic axis an octave has about the same share, a tenth, beyond the scale 2.
  logarithmic = 2 * np.expm1((1 - times) * np.log1p(511.5))
  assert list(ages.ticks(times, logarithmic)) == [2, 8, 16, 32, 64, 128, 256, 512]


def test_ages_before_a_document_and_times_before_zero_have_no_ticks():
  times, held = np.linspace(0, 1, 101), np.linspace(1000, 0, 101)
  held[:50] = np.nan  # The oldest has age 500.
  assert list(ages.ticks(times, held)) == [128, 256]
  assert ages.ticks(times, np.full(101, np.nan)) == {}
  assert list(ages.ticks(2 * times - 1, np.linspace(1000, 0, 101))) == [64, 128, 256]


def test_an_axis_has_its_ticks_at_their_times():
  panel = Figure().subplots()
  ages.add_axis(panel, 'right', {64: 0.75, 2048: 0.25}, 'age')
  (axis,) = panel.child_axes
  assert axis.get_ylabel() == 'age'
  assert axis.get_yticks().tolist() == [0.75, 0.25]
  assert [label.get_text() for label in axis.get_yticklabels()] == ['64', '2k']


def test_ticks_of_a_part_of_an_axis_are_multiples_of_a_power_of_two_where_no_powers_are_on_it():
  times = np.linspace(0, 1, 101)
  part = ages.ticks(times, 2000 * (1 - times), 0.45, 0.55)
  assert part == {960: pytest.approx(0.52), 1024: pytest.approx(0.488), 1088: pytest.approx(0.456)}
  assert list(ages.ticks(times, 2000 * (1 - times), 0.2, 0.9)) == [512, 1024]
  panel = Figure().subplots()
  ages.add_axis(panel, 'top', part)
  assert [label.get_text() for label in panel.child_axes[0].get_xticklabels()] == ['960', '1,024', '1,088']
