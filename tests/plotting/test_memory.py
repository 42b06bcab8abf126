"""Plots of a continuous memory show the recorded values."""

import dataclasses

import numpy as np
import pytest

from infformer_jax.plotting import memory
from infformer_jax.records import SignalRecord
from tests.plotting import inspections
from tests.plotting.figures import assert_is_labelled, assert_is_picture, lines_of


def ages(segments, empty=0):
  """Ages at nine times: 0 to 800 tokens, after some segments in which the memory is empty."""
  age_se = np.tile(np.linspace(800, 0, 9), (segments, 1))
  age_se[:empty] = np.nan
  return age_se


def ticks(axis):
  """{label: place} of a second axis; `panel` has one for ages."""
  return {
    label.get_text(): place for label, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
  }


def test_the_densities_of_all_heads_are_drawn(tmp_path):
  density = np.random.default_rng(0).random((6, 5, 8)) + 0.5
  density[:2], density[3, 4, 0] = np.nan, 0
  figure = memory.where_heads_read('layer 3', density, ages(6, 2), tmp_path / 'heads.png')
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
  figure = memory.where_layers_read(named, dict.fromkeys(named, ages(6, 2)), tmp_path / 'density.png')
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


def test_images_have_an_axis_of_age_and_lines_of_equal_age(tmp_path):
  """The document doubles from segment to segment, so that an age comes nearer to the newest end."""
  age_se = np.outer([np.nan, 100, 200, 400], np.linspace(1, 0, 9))
  figure = memory.where_layers_read({'a': np.ones((4, 8))}, {'a': age_se}, tmp_path / 'ages.png')
  (panel,) = [axes for axes in figure.axes if axes.get_images()]
  (right,) = panel.child_axes
  assert right.get_ylabel() == 'age [tokens]'
  assert ticks(right.yaxis) == {'64': 1 - 64 / 400, '128': 1 - 128 / 400, '256': 1 - 256 / 400}
  drawn = {line.get_ydata()[-1]: line.get_ydata().tolist() for line in panel.get_lines()}
  assert drawn[1 - 64 / 400] == [pytest.approx(v, nan_ok=True) for v in (np.nan, 0.36, 0.68, 0.84)]
  assert drawn[1 - 128 / 400] == [pytest.approx(v, nan_ok=True) for v in (np.nan, np.nan, 0.36, 0.68)]
  assert panel.get_lines()[0].get_xdata().tolist() == [0.5, 1.5, 2.5, 3.5]


def test_what_is_before_the_document_is_grey(tmp_path):
  """It begins at 3/8 in the first segment, and at 1/8 in the second; histograms may have other bins."""
  age_se = np.tile(np.linspace(800, 0, 9), (2, 1))
  age_se[0, :3], age_se[1, :1] = np.nan, np.nan
  figure = memory.where_layers_read({'a': np.ones((2, 8))}, {'a': age_se}, tmp_path / 'start.png')
  shown = figure.axes[0].get_images()[0].get_array()
  assert shown.mask.T.tolist() == [[True] * 2 + [False] * 6, [False] * 8]
  figure = memory.sticky_histogram({'a': np.ones((2, 16))}, {'a': age_se}, tmp_path / 'sticky.png')
  shown = figure.axes[0].get_images()[0].get_array()
  assert shown.mask.T.tolist() == [[True] * 4 + [False] * 12, [False] * 16]


def test_sticky_histograms_are_shown_as_densities(tmp_path):
  histogram = np.zeros((4, 8))
  histogram[2], histogram[3, :4] = 5.0, 7.0
  figure = memory.sticky_histogram({'layer 0': histogram}, {'layer 0': ages(4)}, tmp_path / 'sticky.png')
  assert_is_picture(tmp_path / 'sticky.png', figure)
  shown = figure.axes[0].get_images()[0].get_array()
  assert shown.mask[:, :2].all()
  assert shown[:, 2].tolist() == [1] * 8
  assert shown[:, 3].tolist() == [2] * 4 + [0] * 4


@pytest.mark.parametrize(('densest', 'shown'), [(1.1, '0.5 1 2'), (500.0, '0.1 0.3 1 3 10 30 100 300')])
def test_the_colour_scale_of_densities_has_several_ticks(tmp_path, densest, shown):
  density = np.array([[densest, 1.0, 1 / densest]] * 4)
  figure = memory.where_layers_read({'layer 0': density}, {'layer 0': ages(4)}, tmp_path / 'density.png')
  bar = [axes for axes in figure.axes if axes.get_ylabel() == 'density'][-1]
  assert set(shown.split()) <= {label.get_text() for label in bar.get_yticklabels()}


def test_basis_functions_are_drawn(tmp_path):
  times = np.linspace(0, 1, 501)
  centres = np.linspace(0, 1, 32)
  functions = np.exp(-0.5 * ((times[:, None] - centres) / 0.02) ** 2)
  signal = SignalRecord(
    times_t=times, age_t=1000 * (1 - times), age_writes=7, basis_tn=functions, reconstructions=()
  )
  figure = memory.basis(signal, tmp_path / 'basis.png')
  assert_is_picture(tmp_path / 'basis.png', figure)
  whole, middle = figure.axes
  drawn = [line.get_ydata() for line in whole.get_lines()]
  assert np.array_equal(drawn[1], functions[:, 3])  # Every third function.
  assert 6 < len(middle.get_lines()) < 32
  assert '32 basis functions' in figure.get_suptitle()
  (top,) = whole.child_axes
  assert top.get_xlabel() == 'age after 7 writes [tokens]'
  assert ticks(top.xaxis) == {'128': 0.872, '256': 0.744, '512': 0.488}
  (zoomed,) = middle.child_axes
  shown = {'448': 0.552, '512': 0.488, '576': 0.424}
  assert ticks(zoomed.xaxis) == {age: pytest.approx(time) for age, time in shown.items()}
  always = memory.basis(dataclasses.replace(signal, age_writes=None), tmp_path / 'basis.png')
  assert always.axes[0].child_axes[0].get_xlabel() == 'age [tokens]'


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
  tops = [axes.child_axes[0] for axes in figure.axes]
  assert tops[0].get_xlabel() == 'age [tokens]'
  # Of 21 values at 0, .05, ..., 1, the newest has age 0.
  assert ticks(tops[0].xaxis) == {'2': 0.9, '4': 0.8, '8': pytest.approx(0.6), '16': pytest.approx(0.2)}
