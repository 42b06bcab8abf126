"""The summary that a sweep reports about its points: means, spreads, and columns."""

import json

import numpy as np
import pytest

from infformer_jax.ablation import summary
from infformer_jax.ablation.grid import Axis, Point
from tests.ablation.sweep import figures, text_run


def test_the_summary_is_the_mean_and_spread_over_seeds(tmp_path):
  axes = [Axis(key='model.memory.num_basis', values=('8', '16')), Axis(key=':memory', values=('a',))]
  points = []
  for values, seed, accuracy in ((('8', 'a'), 0, 0.5), (('8', 'a'), 1, 0.7), (('16', 'a'), 0, 0.9)):
    workdir = tmp_path / 'points' / f'{values[0]} {seed}'
    workdir.mkdir(parents=True)
    points.append(Point(values=values, seed=seed, workdir=workdir, experiment=None))
    content = figures(values, seed, accuracy, distance_1=accuracy, distance_4=accuracy / 2)
    points[-1].file.write_text(json.dumps(content))
  summarized = summary.summary(axes, points)
  first, second = summarized['rows']
  assert first['accuracy'] == pytest.approx(0.6)
  assert first['accuracy_spread'] == pytest.approx(np.std([0.5, 0.7], ddof=1))
  assert (first['regression_error'], first['seeds']) == (0.5, 2)
  assert first['accuracy_by_group'] == {'distance_1': pytest.approx(0.6), 'distance_4': pytest.approx(0.3)}
  assert second['accuracy_spread'] is None


def test_axes_whose_keys_end_alike_have_distinct_columns(tmp_path):
  keys = ('model.memory.first.num_basis', 'model.memory.second.num_basis')
  axes = [Axis(key=key, values=('8', '16')) for key in keys]
  points = [Point(values=v, seed=0, workdir=tmp_path / ''.join(v), experiment=None) for v in (('8', '16'),)]
  for point in points:
    point.workdir.mkdir()
    point.file.write_text(json.dumps(figures(point.values, 0, 0.5)))
  summarized = summary.summary(axes, points)
  assert [summarized['rows'][0][key] for key in keys] == ['8', '16']
  summary.write(summarized, tmp_path)
  assert (tmp_path / 'ablation.csv').read_text().startswith(f'{keys[0]},{keys[1]},seed,')


def test_a_point_that_another_process_finishes_at_the_same_time_is_not_lost(tmp_path):
  axes = [Axis(key='model.memory.num_basis', values=('8', '16'))]
  points = [Point(values=(n,), seed=0, workdir=tmp_path / n, experiment=None) for n in axes[0].values]

  def finish(point):
    point.workdir.mkdir(exist_ok=True)
    point.file.write_text(json.dumps(figures(point.values, 0, 0.5)))

  finish(points[0])
  summarized = summary.keep(axes, points, tmp_path, lambda _: finish(points[1]))
  assert summarized['missing'] == []
  assert len(json.loads((tmp_path / 'ablation.json').read_text())['points']) == 2


def test_the_summary_compares_the_runs_that_have_losses_by_document(tmp_path):
  axes = [Axis(key=':memory', values=('none', 'signal'))]
  points = []
  for name, kind, shift in (('none', 'none', 0), ('signal', 'continuous', -4)):
    for seed in range(3):
      run = text_run((name,), seed, kind, [20, 20, 20 + shift, 5])
      if (name, seed) == ('none', 2):  # As an earlier version has written it.
        del run['by_document'], run['measured_on'], run['memory_kind']
      points.append(Point(values=(name,), seed=seed, workdir=tmp_path / run['run'], experiment=None))
      points[-1].workdir.mkdir()
      points[-1].file.write_text(json.dumps(run))
  summarized = summary.summary(axes, points)
  entry = summarized['comparisons'][0]
  assert (entry['values'], entry['num_seeds']) == (['signal'], 2)
  assert entry['difference'] == pytest.approx(-4 / 135)
  assert summarized['not_compared'] == ['none,seed=2']
