"""Plots of losses and accuracies show the logged values."""

import numpy as np
import pytest
from etils import epath

from infformer_jax.errors import UserError
from infformer_jax.plotting import losses
from tests.plotting.figures import assert_is_labelled, assert_is_picture, lines_of
from tests.plotting.results import BY_POSITION


def test_loss_curves_show_the_logged_losses(tmp_path):
  lines = [
    {'step': step, 'split': 'train', 'loss_nats_per_token': 5 - step / 100} for step in range(0, 100, 10)
  ]
  lines += [{'step': 50, 'split': 'validation', 'loss_nats_per_token': 4.25, 'perplexity_per_word': 9.0}]
  lines += [{'step': 60, 'split': 'train', 'tokens_per_second': 1.0}]  # Has no loss.
  lines += [{'step': 70, 'split': 'validation', 'loss_nats_per_token': None}]  # Was not finite.
  figure = losses.loss_curves(lines, tmp_path / 'new' / 'loss.png')
  assert_is_picture(tmp_path / 'new' / 'loss.png', figure)
  assert_is_labelled(figure)
  drawn = lines_of(figure.axes[0])
  assert drawn['train'].tolist() == [[step, 5 - step / 100] for step in range(0, 100, 10)]
  assert drawn['validation'].tolist() == [[50, 4.25]]


def test_a_single_record_is_drawn_as_a_marker(tmp_path):
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
  assert mean[0, 0] == pytest.approx(4.5)  # The middle of the first ten.


@pytest.mark.parametrize(
  'line',
  [
    *('{"step": 1', 'null', '{}', '[]', '"step"', '{"step": "1", "split": "train"}'),
    *('{"step": 1, "split": 2}', '{"step": 1, "split": "train", "loss_nats_per_token": "3"}', 'NaN'),
  ],
)
def test_a_damaged_line_is_an_error_with_its_number(tmp_path, line):
  (tmp_path / 'metrics.jsonl').write_text(f'{{"step": 1, "split": "train"}}\n{line}\n')
  with pytest.raises(UserError, match=r'metrics\.jsonl, line 2 is damaged; remove it'):
    losses.logged(epath.Path(tmp_path))


def test_a_line_that_is_being_written_is_left_out(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "split": "train"}\n{"step": 2, "sp')
  assert losses.logged(epath.Path(tmp_path)) == [{'step': 1, 'split': 'train'}]


def test_without_losses_there_is_no_plot(tmp_path):
  assert losses.loss_curves([{'step': 1, 'split': 'train'}], tmp_path / 'loss.png') is None
  assert not (tmp_path / 'loss.png').exists()


def test_loss_by_position_shows_losses_and_differences(tmp_path):
  figure = losses.loss_by_position(BY_POSITION, 256, tmp_path / 'position.png')
  assert_is_picture(tmp_path / 'position.png', figure)
  assert_is_labelled(figure)
  above, below = (lines_of(axes) for axes in figure.axes)
  assert above['memory'].tolist() == [[64, 3.0], [192, 2.5], [384, 2.0]]
  assert np.isnan(above['exchanged'][2, 1])
  assert below['memory − emptied'][2].tolist() == [384, -0.25]


def test_bands_are_explained_if_present(tmp_path):
  measured = {'nats_per_token': [0, 0, -0.25], 'standard_error': [0, 0, 0.1]}
  banded = BY_POSITION | {'memory_minus': {'emptied': measured}}
  for by_position, has_bands in ((BY_POSITION, False), (banded, True)):
    figure = losses.loss_by_position(by_position, 256, tmp_path / 'position.png')
    assert figure.get_supxlabel().startswith('Bands:') == has_bands


def test_equal_accuracies_are_all_visible(tmp_path):
  views = ('memory', 'emptied', 'exchanged')
  by_group = {f'distance_{d}': {view: {'accuracy': 0.0} for view in views} for d in (1, 4)}
  figure = losses.accuracy_by_group(by_group, tmp_path / 'accuracy.png')
  drawn = figure.axes[0].get_lines()
  assert len({line.get_marker() for line in drawn}) == 3
  assert {line.get_markerfacecolor() for line in drawn} == {'none'}
  assert figure.axes[0].get_ylim()[0] < 0  # The markers are not clipped.


def test_accuracies_of_a_task_are_drawn_by_group(tmp_path):
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


def test_without_controls_only_the_loss_is_drawn(tmp_path):
  alone = BY_POSITION | {'loss_nats_per_token': {'memory': [3.0, 2.5, 2.0]}, 'memory_minus': {}}
  figure = losses.loss_by_position(alone, 256, tmp_path / 'position.png')
  assert_is_picture(tmp_path / 'position.png', figure)
  assert len(figure.axes) == 1
