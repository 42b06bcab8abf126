"""Plots of a sweep: their files, and the values on their axes."""

import json

import pytest

from infformer_jax.ablation import summary
from infformer_jax.ablation.grid import Axis, Point
from infformer_jax.plotting import ablation
from tests.ablation.sweep import figures, text_run
from tests.plotting.figures import assert_is_labelled, lines_of


def draw(workdir, axes, runs, **changes):
  """Draws a sweep whose runs are (values, seed, accuracies by group), each with one logged step."""
  points = []
  for values, seed, groups in runs:
    folder = workdir / 'points' / f'{" ".join(values)} {seed}'
    folder.mkdir(parents=True)
    line = {'step': 2, 'split': 'train', 'loss_nats_per_token': 1.0}
    (folder / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    points.append(Point(values=values, seed=seed, workdir=folder, experiment=None))
    accuracy = sum(groups.values()) / len(groups)
    points[-1].file.write_text(json.dumps(figures(values, seed, accuracy, **groups) | changes))
  ablation.sweep(summary.summary(axes, points), workdir)


SIZES = Axis(key='model.memory.num_basis', values=('8', '16'))


def test_a_sweep_over_numbers_is_plotted_with_means_spreads_and_errors(tmp_path, kept):
  runs = [
    (('8',), 0, {'distance_1': 0.5, 'distance_4': 0.3}),
    (('8',), 1, {'distance_1': 0.7, 'distance_4': 0.5}),
    (('16',), 0, {'distance_1': 0.9, 'distance_4': 0.7}),
  ]
  draw(tmp_path, [SIZES], runs)
  assert set(kept) == {'ablation.png', 'cost.png', 'curves.png', 'distance.png'}
  assert set(kept) == {path.name for path in (tmp_path / 'plots').iterdir()}
  metric, error = kept['ablation.png'].axes
  means, _, _ = metric.containers[0]
  assert means.get_xydata().tolist() == [[8, pytest.approx(0.5)], [16, pytest.approx(0.8)]]
  assert metric.get_xscale() == 'log'
  assert error.get_lines()[0].get_xydata().tolist() == [[8, 0.5], [16, 0.0]]
  (distance,) = kept['distance.png'].axes
  assert lines_of(distance)['8'].tolist() == [[1, pytest.approx(0.6)], [4, pytest.approx(0.4)]]
  for figure in kept.values():
    assert_is_labelled(figure)


def test_a_sweep_with_two_axes_has_distinct_markers_and_legends(tmp_path, kept):
  """Two memories times two settings with equal figures, each run with one logged step."""
  axes = [Axis(key=':memory', values=('none', 'recent')), Axis(key='model.positions', values=('xl', 't5'))]
  settings = [('none', 'xl'), ('none', 't5'), ('recent', 'xl'), ('recent', 't5')]
  draw(tmp_path, axes, [(values, 3, {'distance_1': 0.5, 'distance_4': 0.0}) for values in settings])
  for name in ('curves.png', 'distance.png'):
    (panel,) = kept[name].axes
    assert panel.get_legend().get_title().get_text() == 'memory, positions'
    assert len({line.get_marker() for line in panel.get_lines()}) == 4
    assert {line.get_markerfacecolor() for line in panel.get_lines()} == {'none'}
  assert all(panel.get_ylim() == (0, pytest.approx(1.08 * 3)) for panel in kept['cost.png'].axes)


def test_values_that_are_not_numbers_are_drawn_side_by_side_without_errors(tmp_path, kept):
  axes = [Axis(key=':memory', values=('none', 'recent'))]
  draw(tmp_path, axes, [(('none',), 0, {'answer': 0.2501}), (('recent',), 0, {'answer': 0.25023})])
  assert 'distance.png' not in kept
  (panel,) = kept['ablation.png'].axes
  assert [label.get_text() for label in panel.get_xticklabels()] == ['none', 'recent']
  assert [annotation.get_text() for annotation in panel.texts] == ['0.2501', '0.25023']


def test_a_memory_without_a_signal_has_no_regression_error(tmp_path, kept):
  runs = [(('8',), 0, {'answer': 0.25}), (('16',), 0, {'answer': 0.5})]
  draw(tmp_path, [SIZES], runs, regression_error=None)
  assert len(kept['ablation.png'].axes) == 1


def test_keys_that_end_alike_and_a_sweep_without_runs_can_be_drawn(tmp_path, kept):
  keys = ('model.memory.first.num_basis', 'model.memory.second.num_basis')
  axes = [Axis(key=key, values=('8', '16')) for key in keys]
  draw(tmp_path, axes, [])
  assert kept == {}
  draw(tmp_path, axes, [(('8', '16'), 0, {'answer': 0.5})])
  assert set(kept) == {'ablation.png', 'cost.png', 'curves.png'}


def test_the_differences_from_a_model_without_a_memory_have_a_plot(tmp_path, kept):
  axes = [Axis(key=':memory', values=('none', 'recent'))]
  points = [
    Point(values=(kind,), seed=0, workdir=tmp_path / kind, experiment=None) for kind in axes[0].values
  ]
  for point in points:
    point.workdir.mkdir()
    point.file.write_text(json.dumps(text_run(point.values, 0, point.values[0], [20, 20, 20, 5])))
  ablation.sweep(summary.summary(axes, points[:1]), tmp_path)
  assert 'difference.png' not in kept
  ablation.sweep(summary.summary(axes, points), tmp_path)
  assert_is_labelled(kept['difference.png'])
