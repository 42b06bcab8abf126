"""What a sweep says of its points: means, spreads, columns."""

import contextlib
import json

import numpy as np
import pytest

from infformer_jax.ablation import summary
from infformer_jax.ablation.grid import Axis, Point
from infformer_jax.plotting import ablation as plots
from infformer_jax.results_schema import PointFigures


def figures(values, seed, accuracy, **groups):
  every = dict.fromkeys(PointFigures.__required_keys__, float(seed))
  return every | {
    'values': values,
    'seed': seed,
    'step': 10,
    'accuracy': accuracy,
    'loss_nats_per_token': 1.0,
    'perplexity_per_word': None,
    'is_task': True,
    'accuracy_by_group': groups,
  }


def test_the_summary_is_the_mean_and_spread_over_seeds(tmp_path):
  axes = [Axis(key='model.memory.num_basis', values=('8', '16')), Axis(key=':memory', values=('a',))]
  points = []
  for values, seed, accuracy in ((('8', 'a'), 0, 0.5), (('8', 'a'), 1, 0.7), (('16', 'a'), 0, 0.9)):
    workdir = tmp_path / 'points' / f'{values[0]} {seed}'
    workdir.mkdir(parents=True)
    line = {'step': 5, 'split': 'train', 'loss_nats_per_token': accuracy}
    (workdir / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    points.append(Point(values=values, seed=seed, workdir=workdir, experiment=None))
    content = figures(values, seed, accuracy, distance_1=accuracy, distance_4=accuracy / 2)
    points[-1].file.write_text(json.dumps(content))
  found = summary.summary(axes, points)
  first, second = found['rows']
  assert first['accuracy'] == pytest.approx(0.6)
  assert first['accuracy_spread'] == pytest.approx(np.std([0.5, 0.7], ddof=1))
  assert (first['regression_error'], first['seeds']) == (0.5, 2)
  assert first['accuracy_by_group'] == {'distance_1': pytest.approx(0.6), 'distance_4': pytest.approx(0.3)}
  assert second['accuracy_spread'] is None
  plots.sweep(found, tmp_path)
  assert {path.name for path in (tmp_path / 'plots').iterdir()} == {
    'ablation.png',
    'cost.png',
    'curves.png',
    'distance.png',
  }
  assert summary.rows_table(found['rows']).splitlines()[1].split()[:4] == ['8', 'a', '2', '0.6']


def test_marks_and_legends_of_a_sweep(tmp_path, monkeypatch):
  """Two memories times two settings that all come out alike, each run with one logged step."""
  axes = [Axis(key=':memory', values=('none', 'recent')), Axis(key='model.positions', values=('xl', 't5'))]
  points = []
  for values in (('none', 'xl'), ('none', 't5'), ('recent', 'xl'), ('recent', 't5')):
    workdir = tmp_path / 'points' / ' '.join(values)
    workdir.mkdir(parents=True)
    line = {'step': 2, 'split': 'train', 'loss_nats_per_token': 1.0}
    (workdir / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    points.append(Point(values=values, seed=3, workdir=workdir, experiment=None))
    points[-1].file.write_text(json.dumps(figures(values, 3, 0.5, distance_1=0.5, distance_4=0.0)))
  canvas, figures_of = plots.style.canvas, {}

  @contextlib.contextmanager
  def keeping(path, *size):
    with canvas(path, *size) as figure:
      yield figure
    figures_of[path.name] = figure

  monkeypatch.setattr(plots.style, 'canvas', keeping)
  plots.sweep(summary.summary(axes, points), tmp_path)
  for name in ('curves.png', 'distance.png'):
    (panel,) = figures_of[name].axes
    assert panel.get_legend().get_title().get_text() == 'memory, positions'
    assert len({line.get_marker() for line in panel.get_lines()}) == 4
    assert {line.get_markerfacecolor() for line in panel.get_lines()} == {'none'}
  assert all(panel.get_ylim() == (0, pytest.approx(1.08 * 3)) for panel in figures_of['cost.png'].axes)


def test_axes_whose_keys_end_alike_are_told_apart(tmp_path):
  keys = ('model.memory.first.num_basis', 'model.memory.second.num_basis')
  axes = [Axis(key=key, values=('8', '16')) for key in keys]
  points = [Point(values=v, seed=0, workdir=tmp_path / ''.join(v), experiment=None) for v in (('8', '16'),)]
  for point in points:
    point.workdir.mkdir()
    point.file.write_text(json.dumps(figures(point.values, 0, 0.5)))
  found = summary.summary(axes, points)
  assert [found['rows'][0][key] for key in keys] == ['8', '16']
  summary.write(found, tmp_path)
  assert (tmp_path / 'ablation.csv').read_text().startswith(f'{keys[0]},{keys[1]},seed,')
  plots.sweep(found, tmp_path)


def test_a_point_that_another_process_finishes_meanwhile_is_not_lost(tmp_path):
  axes = [Axis(key='model.memory.num_basis', values=('8', '16'))]
  points = [Point(values=(n,), seed=0, workdir=tmp_path / n, experiment=None) for n in axes[0].values]

  def finish(point):
    point.workdir.mkdir(exist_ok=True)
    point.file.write_text(json.dumps(figures(point.values, 0, 0.5)))

  finish(points[0])
  found = summary.keep(axes, points, tmp_path, lambda _: finish(points[1]))
  assert found['missing'] == []
  assert len(json.loads((tmp_path / 'ablation.json').read_text())['points']) == 2
