"""Plots: that what is handed in reaches the axes, and that files are pictures."""

import struct

import numpy as np
import pytest

from infformer_jax.plotting import losses, memory, style


def assert_is_picture(path, figure):
  """A PNG of the figure's size with more than one colour."""
  data = path.read_bytes()
  assert data[:8] == b'\x89PNG\r\n\x1a\n'
  width, height = struct.unpack('>II', data[16:24])
  assert (width, height) == tuple(round(150 * inches) for inches in figure.get_size_inches())
  figure.canvas.draw()
  pixels = np.asarray(figure.canvas.buffer_rgba())
  assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 20


def assert_is_labelled(figure):
  """A title, units on every outer axis, no legend over the data."""
  assert figure.get_suptitle()
  for axes in figure.axes:
    if axes.get_visible() and axes.get_subplotspec() is not None:
      assert axes.get_ylabel() or not axes.get_subplotspec().is_first_col()
    if axes.get_legend():
      figure.canvas.draw()
      inside = axes.get_window_extent()
      assert axes.get_legend().get_window_extent().x0 >= inside.x1 - 1


def lines_of(axes):
  return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_loss_curves(tmp_path):
  lines = [
    {'step': step, 'split': 'train', 'loss_nats_per_token': 5 - step / 100} for step in range(0, 100, 10)
  ]
  lines += [{'step': 50, 'split': 'validation', 'loss_nats_per_token': 4.25, 'perplexity_per_word': 9.0}]
  lines += [{'step': 60, 'split': 'train', 'tokens_per_second': 1.0}]  # has no loss
  lines += [{'step': 70, 'split': 'validation', 'loss_nats_per_token': None}]  # was not finite
  figure = losses.loss_curves(lines, tmp_path / 'new' / 'loss.png')
  assert_is_picture(tmp_path / 'new' / 'loss.png', figure)
  assert_is_labelled(figure)
  drawn = lines_of(figure.axes[0])
  assert drawn['train'].tolist() == [[step, 5 - step / 100] for step in range(0, 100, 10)]
  assert drawn['validation'].tolist() == [[50, 4.25]]


def test_a_single_record_is_a_mark(tmp_path):
  line = {'step': 1, 'split': 'train', 'loss_nats_per_token': 3.0}
  (axes,) = losses.loss_curves([line], tmp_path / 'loss.png').axes
  (drawn,) = axes.get_lines()
  assert drawn.get_marker() == 'o'
  assert all(tick == round(tick) for tick in axes.get_xticks())


def test_many_records_are_smoothed_in_place(tmp_path):
  lines = [{'step': step, 'split': 'train', 'loss_nats_per_token': step % 2} for step in range(400)]
  figure = losses.loss_curves(lines, tmp_path / 'loss.png')
  mean = lines_of(figure.axes[0])['train, mean of 10 records']
  assert mean[:, 1] == pytest.approx(0.5)
  assert mean[0, 0] == pytest.approx(4.5)  # the middle of the first ten


def test_without_losses_there_is_no_plot(tmp_path):
  assert losses.loss_curves([{'step': 1, 'split': 'train'}], tmp_path / 'loss.png') is None
  assert not (tmp_path / 'loss.png').exists()


BY_POSITION = {
  'start_tokens': [0, 128, 256],
  'stop_tokens': [128, 256, 512],
  'loss_nats_per_token': {
    'memory': [3.0, 2.5, 2.0],
    'emptied': [3.0, 2.5, 2.25],
    'exchanged': [3.0, 2.5, None],
  },
  'memory_minus': {
    'emptied': {'nats_per_token': [0, 0, -0.25], 'standard_error': [0, 0, None]},
    'exchanged': {'nats_per_token': [0, 0, None], 'standard_error': [0, 0, None]},
  },
}


def test_loss_by_position(tmp_path):
  figure = losses.loss_by_position(BY_POSITION, 256, tmp_path / 'position.png')
  assert_is_picture(tmp_path / 'position.png', figure)
  assert_is_labelled(figure)
  above, below = (lines_of(axes) for axes in figure.axes)
  assert above['memory'].tolist() == [[64, 3.0], [192, 2.5], [384, 2.0]]
  assert np.isnan(above['exchanged'][2, 1])
  assert below['memory − emptied'][2].tolist() == [384, -0.25]


def test_bands_are_explained_where_there_are_some(tmp_path):
  measured = {'nats_per_token': [0, 0, -0.25], 'standard_error': [0, 0, 0.1]}
  banded = BY_POSITION | {'memory_minus': {'emptied': measured}}
  for by_position, has_bands in ((BY_POSITION, False), (banded, True)):
    figure = losses.loss_by_position(by_position, 256, tmp_path / 'position.png')
    assert figure.get_supxlabel().startswith('Bands:') == has_bands


def test_accuracies_that_coincide_are_all_seen(tmp_path):
  views = ('memory', 'emptied', 'exchanged')
  by_group = {f'distance_{d}': {view: {'accuracy': 0.0} for view in views} for d in (1, 4)}
  figure = losses.accuracy_by_group(by_group, tmp_path / 'accuracy.png')
  drawn = figure.axes[0].get_lines()
  assert len({line.get_marker() for line in drawn}) == 3
  assert {line.get_markerfacecolor() for line in drawn} == {'none'}
  assert figure.axes[0].get_ylim()[0] < 0  # The marks are whole.


def test_accuracies_of_a_task(tmp_path):
  by_group = {f'distance_{d}': {'memory': {'accuracy': 1 / d}, 'emptied': {'accuracy': None}} for d in (1, 4)}
  figure = losses.accuracy_by_group(by_group, tmp_path / 'accuracy.png')
  assert_is_picture(tmp_path / 'accuracy.png', figure)
  assert_is_labelled(figure)
  drawn = lines_of(figure.axes[0])
  assert drawn['memory'].tolist() == [[1, 1], [4, 0.25]]
  assert np.isnan(drawn['emptied'][:, 1]).all()
  figure = losses.accuracy_by_group({'answer': {'memory': {'accuracy': 0.5}}}, tmp_path / 'one.png')
  assert_is_picture(tmp_path / 'one.png', figure)
  assert [bar.get_height() for bar in figure.axes[0].patches] == [0.5]


def test_without_controls_there_is_only_the_loss(tmp_path):
  alone = BY_POSITION | {'loss_nats_per_token': {'memory': [3.0, 2.5, 2.0]}, 'memory_minus': {}}
  figure = losses.loss_by_position(alone, 256, tmp_path / 'position.png')
  assert_is_picture(tmp_path / 'position.png', figure)
  assert len(figure.axes) == 1


@pytest.mark.parametrize('layers', [1, 2, 5])
def test_densities_are_images_with_time_upwards(tmp_path, layers):
  density = np.ones((6, 8))
  density[:2] = np.nan  # the memory is empty at first
  density[5, 7] = 4  # the newest eighth of the memory, in the last segment
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
def test_a_scale_of_densities_has_several_ticks(tmp_path, densest, shown):
  density = np.array([[densest, 1.0, 1 / densest]] * 4)
  figure = memory.where_layers_read({'layer 0': density}, tmp_path / 'density.png')
  bar = figure.axes[-1]
  assert set(shown.split()) <= {label.get_text() for label in bar.get_yticklabels()}


def test_basis(tmp_path):
  times = np.linspace(0, 1, 501)
  centres = np.linspace(0, 1, 32)
  functions = np.exp(-0.5 * ((times[:, None] - centres) / 0.02) ** 2)
  figure = memory.basis(times, functions, tmp_path / 'basis.png')
  assert_is_picture(tmp_path / 'basis.png', figure)
  whole, middle = figure.axes
  drawn = [line.get_ydata() for line in whole.get_lines()]
  assert np.array_equal(drawn[1], functions[:, 3])  # one in 3
  assert 6 < len(middle.get_lines()) < 32
  assert '32 basis functions' in figure.get_suptitle()


def test_reconstruction(tmp_path):
  times = np.linspace(0, 1, 50)
  fit = {'times_p': times[::5], 'values_p': times[::5] ** 2, 'times_t': times, 'signal_t': times**2}
  figure = memory.reconstruction([fit | {'title': 'one'}, fit | {'title': 'two'}], tmp_path / 'fit.png')
  assert_is_picture(tmp_path / 'fit.png', figure)
  assert_is_labelled(figure)
  assert [axes.get_title(loc='left') for axes in figure.axes] == ['one', 'two']
  drawn = lines_of(figure.axes[1])
  assert np.array_equal(drawn['values written'][:, 1], times[::5] ** 2)
  assert np.array_equal(drawn["memory's signal"][:, 0], times)


def test_a_subtitle_of_figures_and_capitals_stays_inside(tmp_path):
  for width in (4.3, 8.6):
    with style.canvas(tmp_path / 'wide.png', width, 2) as figure:
      style.headline(figure, 'Wide', 'Of 16,384 tokens in PG-19 ' * 12)
    figure.canvas.draw()
    (subtitle,) = (text for text in figure.texts if '16,384' in text.get_text())
    assert subtitle.get_window_extent().x1 <= figure.bbox.x1


def test_nothing_is_written_where_drawing_fails(tmp_path):
  with pytest.raises(KeyError):
    memory.reconstruction([{'title': 'without values'}], tmp_path / 'fit.png')
  assert not (tmp_path / 'fit.png').exists()
