"""Plots of a continuous memory show the recorded values."""

import numpy as np
import pytest

from infformer_jax.plotting import memory
from infformer_jax.records import SignalRecord
from tests.plotting import inspections
from tests.plotting.figures import assert_is_labelled, assert_is_picture, lines_of


def test_the_densities_of_all_heads_are_drawn(tmp_path):
  density = np.random.default_rng(0).random((6, 5, 8)) + 0.5
  density[:2], density[3, 4, 0] = np.nan, 0
  figure = memory.where_heads_read('layer 3', density, tmp_path / 'heads.png')
  assert_is_picture(tmp_path / 'heads.png', figure)
  assert_is_labelled(figure)
  panels = [axes for axes in figure.axes if axes.get_images()]
  assert [axes.get_title(loc='left') for axes in panels] == [f'head {h}' for h in range(5)]
  shown = panels[4].get_images()[0].get_array()
  np.testing.assert_array_equal(shown[:, 2:], density[2:, 4].T)
  assert 'layer 3' in figure.get_suptitle()
  image = panels[4].get_images()[0]
  colors = image.cmap(image.norm(shown))  # A density of 0 and an empty memory differ in colour.
  assert colors[0, 3].tolist() != colors[0, 0].tolist() == colors[1, 1].tolist()


@pytest.mark.parametrize('layers', [1, 2, 5])
def test_densities_are_images_with_time_on_the_vertical_axis(tmp_path, layers):
  density = np.ones((6, 8))
  density[:2] = np.nan  # The memory is empty at first.
  density[5, 7] = 4  # The newest eighth of the memory, in the last segment.
  named = {f'layer {i}': density for i in range(layers)}
  figure = memory.where_layers_read(named, tmp_path / 'density.png')
  assert_is_picture(tmp_path / 'density.png', figure)
  assert_is_labelled(figure)
  panels = [axes for axes in figure.axes if axes.get_images()]
  assert [axes.get_title(loc='left') for axes in panels] == list(named)
  image = panels[0].get_images()[0]
  shown = image.get_array()
  assert image.origin == 'lower'
  assert shown.shape == (8, 6)
  assert shown[7, 5] == 4
  assert shown.mask[:, :2].all()
  assert not shown.mask[:, 2:].any()


def test_sticky_histograms_are_shown_as_densities(tmp_path):
  histogram = np.zeros((4, 8))
  histogram[2], histogram[3, :4] = 5.0, 7.0
  figure = memory.sticky_histogram({'layer 0': histogram}, tmp_path / 'sticky.png')
  assert_is_picture(tmp_path / 'sticky.png', figure)
  shown = figure.axes[0].get_images()[0].get_array()
  assert shown.mask[:, :2].all()
  assert shown[:, 2].tolist() == [1] * 8
  assert shown[:, 3].tolist() == [2] * 4 + [0] * 4


@pytest.mark.parametrize(('densest', 'shown'), [(1.1, '0.5 1 2'), (500.0, '0.1 0.3 1 3 10 30 100 300')])
def test_the_colour_scale_of_densities_has_several_ticks(tmp_path, densest, shown):
  density = np.array([[densest, 1.0, 1 / densest]] * 4)
  figure = memory.where_layers_read({'layer 0': density}, tmp_path / 'density.png')
  bar = figure.axes[-1]
  assert set(shown.split()) <= {label.get_text() for label in bar.get_yticklabels()}


def test_basis_functions_are_drawn(tmp_path):
  times = np.linspace(0, 1, 501)
  centres = np.linspace(0, 1, 32)
  functions = np.exp(-0.5 * ((times[:, None] - centres) / 0.02) ** 2)
  signal = SignalRecord(times_t=times, basis_tn=functions, reconstructions=())
  figure = memory.basis(signal, tmp_path / 'basis.png')
  assert_is_picture(tmp_path / 'basis.png', figure)
  whole, middle = figure.axes
  drawn = [line.get_ydata() for line in whole.get_lines()]
  assert np.array_equal(drawn[1], functions[:, 3])  # Every third function.
  assert 6 < len(middle.get_lines()) < 32
  assert '32 basis functions' in figure.get_suptitle()


def test_the_reconstruction_is_drawn(tmp_path):
  signal = inspections.signal()
  figure = memory.reconstruction(signal, tmp_path / 'fit.png')
  assert_is_picture(tmp_path / 'fit.png', figure)
  assert_is_labelled(figure)
  titles = [axes.get_title(loc='left') for axes in figure.axes]
  assert titles == ['After the first write', 'After 3 writes']
  drawn = lines_of(figure.axes[1])
  assert np.array_equal(drawn['values written'][:, 1], signal.times_t[::5] ** 2)
  assert np.array_equal(drawn["memory's signal"][:, 0], signal.times_t)
