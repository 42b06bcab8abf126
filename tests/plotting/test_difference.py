"""The plot of paired comparisons: places, errors, and the ceiling."""

import numpy as np

from infformer_jax.plotting import difference
from tests.plotting.figures import assert_is_labelled, assert_is_picture

ALL, BEYOND = 'loss_nats_per_token', 'loss_beyond_reach_nats_per_token'


def entry(name, measure, value, seeds, documents, is_ceiling=False):
  return {
    'values': [name],
    'measure': measure,
    'difference': value,
    'standard_error_over_seeds': seeds,
    'standard_error_over_documents': documents,
    'num_seeds': 3,
    'is_ceiling': is_ceiling,
  }


def spans(panel):
  """The (low, high) of every drawn error, by thickness of its line."""
  by_width = {}
  for bars in panel.collections:
    (line,) = bars.get_segments()
    by_width.setdefault(float(bars.get_linewidth()[0]), []).append(tuple(line[:, 0]))
  return by_width


def test_every_setting_has_its_difference_and_two_distinct_errors(tmp_path, kept):
  entries = [
    entry('window', ALL, -0.2, 0.01, 0.03, is_ceiling=True),
    entry('signal', ALL, -0.1, 0.02, 0.04),
    entry('window', BEYOND, -0.4, 0.01, 0.03, is_ceiling=True),
    entry('signal', BEYOND, -0.3, 0.02, 0.04),
  ]
  path = tmp_path / 'difference.png'
  difference.difference(['memory'], entries, path)
  figure = kept['difference.png']
  assert_is_picture(path, figure)
  assert_is_labelled(figure)
  left, right = figure.axes
  assert [label.get_text() for label in left.get_yticklabels()] == ['window', 'signal']
  zero, *marks = (line for line in right.get_lines() if line.get_marker() not in ('|', '_'))
  assert list(zero.get_xdata()) == [0, 0]
  assert [(line.get_marker(), *line.get_xydata()[0]) for line in marks] == [('D', -0.4, 0), ('o', -0.3, 1)]
  thin, thick = (spans(left)[width] for width in sorted(spans(left)))
  np.testing.assert_allclose(thin, [(-0.23, -0.17), (-0.14, -0.06)])
  np.testing.assert_allclose(thick, [(-0.21, -0.19), (-0.12, -0.08)])
  assert left.get_ylim()[0] > left.get_ylim()[1]  # The first setting is on top.


def test_unknown_differences_and_errors_are_left_out(tmp_path, kept):
  entries = [entry('window', ALL, None, None, None), entry('signal', ALL, -0.1, None, None)]
  difference.difference(['memory'], entries, tmp_path / 'difference.png')
  (panel,) = kept['difference.png'].axes
  assert [label.get_text() for label in panel.get_yticklabels()] == ['window', 'signal']
  marks = [line.get_xydata()[0].tolist() for line in panel.get_lines()[1:] if line.get_marker() == 'o']
  assert marks == [[-0.1, 1]]
