"""The pictures of docs are drawn from the figures of the benchmarks."""

import json
import sys

import numpy as np
import pytest

from tests.benchmarks import plots
from tests.plotting.figures import assert_is_labelled, assert_is_picture


def row(subject, what, ours, other=None, other_name='', at=None):
  of = {'other': other and {'median': other}, 'other_name': other_name}
  return {'subject': subject, 'what': what, 'ours': {'median': ours}, 'at': at, **of}


def test_both_pictures_are_drawn_also_without_pytorch(tmp_path, monkeypatch):
  rows = [
    row('parts', 'part of the training step: feed-forward', 3.0, 2.0, '1 GFLOP'),
    row('parts', 'part of the training step: optimizer', 1.0),
    row('parts', 'part of the training step: whole step', 5.0, 2.0, '1 GFLOP'),
    *(
      row('against_attention', 'a segment', 2.0, at / 100 if name == 'jax.nn' else None, name, at)
      for name in ('jax.nn', 'torch')
      for at in (512, 1024)
    ),
    row('against_attention', 'what is kept', 1.0),
  ]
  (tmp_path / 'rows.json').write_text(json.dumps({'rows': rows}))
  monkeypatch.setattr(sys, 'argv', ['plots', str(tmp_path / 'rows.json'), str(tmp_path / 'docs')])
  plots.main()
  assert {file.name for file in (tmp_path / 'docs').iterdir()} == {'context_length.png', 'step_profile.png'}


@pytest.mark.parametrize('content', [None, '', '[]', '{"rows": [{"subject": "parts"}]}'])
def test_a_file_without_the_rows_is_refused(monkeypatch, tmp_path, capsys, content):
  file = tmp_path / 'rows.json'
  if content is not None:
    file.write_text(content)
  monkeypatch.setattr(sys, 'argv', ['plots', str(file), str(tmp_path)])
  with pytest.raises(SystemExit):
    plots.main()
  assert f'error: {file} ' in capsys.readouterr().err


def test_what_is_held_is_drawn_with_the_label_of_every_line_where_it_falls(tmp_path):
  ages = np.array([64.0, 256, 1024, 4096, 16384])
  curves = {
    'short': (ages[:3], np.array([0.1, 0.8, 0.9])),
    'falls': (ages, np.array([0.9, 0.75, 0.25, 0, 0])),
    'stays': (ages, np.array([0.9, 0.9, 0.9, 0.9, 0.9])),
  }
  figure = plots.held_by_age(tmp_path / 'held_by_age.png', curves)
  assert_is_picture(tmp_path / 'held_by_age.png', figure)
  assert_is_labelled(figure)
  (axes,) = figure.axes
  labels = {text.get_text(): text.xy for text in axes.texts}
  assert labels == {'short': (1024, 0.9), 'falls': (pytest.approx(512), 0.5), 'stays': (16384, 0.9)}
  for line, (drawn, held) in zip(axes.get_lines(), curves.values(), strict=True):
    np.testing.assert_array_equal(line.get_xydata(), np.stack([drawn, held], axis=1))
  colors = {text.get_text(): text.get_color() for text in axes.texts}
  assert list(colors.values()) == [line.get_color() for line in axes.get_lines()]
