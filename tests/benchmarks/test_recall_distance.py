"""The picture on passkeys shows the last stage of every memory: means and deviations over seeds."""

import itertools
import sys

import numpy as np
import pytest

from tests.benchmarks import recall_distance
from tests.plotting.figures import assert_is_labelled, assert_is_picture

CSV = """segments,memory,seed,distance,accuracy,emptied
17,{memory},0,1,0.0,0.0
65,{memory},0,1,1.0,0.0
65,{memory},1,1,0.8,0.0
65,{memory},0,2,0.5,0.0
65,{memory},1,2,0.5,0.0
"""


def rows_of(memory):
  names, *lines = (line.split(',') for line in CSV.format(memory=memory).splitlines())
  return [dict(zip(names, line, strict=True)) for line in lines]


def test_every_memory_is_drawn_with_its_mean_and_deviation(tmp_path):
  rows = list(itertools.chain.from_iterable(map(rows_of, recall_distance.LABELS)))
  figure = recall_distance.recall_distance(tmp_path / 'recall_distance.png', rows)
  assert_is_picture(tmp_path / 'recall_distance.png', figure)
  assert_is_labelled(figure)
  (axes,) = figure.axes
  assert len(axes.containers) == len(recall_distance.LABELS)
  for container, label in zip(axes.containers, recall_distance.LABELS.values(), strict=True):
    assert container.get_label().replace('\n', ' ') == label.replace('`', '')
    line, _, (bars,) = container
    distances, means = line.get_xydata().T
    np.testing.assert_allclose(distances, [1, 2], rtol=0.1)
    np.testing.assert_allclose(means, [0.9, 0.5])
    heights = [segment[:, 1] for segment in bars.get_segments()]
    spread = np.sqrt(0.02)
    np.testing.assert_allclose(heights, [[0.9 - spread, 0.9 + spread], [0.5, 0.5]])


def test_a_folder_without_the_data_is_refused(monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(sys, 'argv', ['recall_distance', str(tmp_path)])
  with pytest.raises(SystemExit):
    recall_distance.main()
  assert f'error: {tmp_path} has no recall_passkey.csv' in capsys.readouterr().err


def test_data_without_a_memory_are_refused_and_the_picture_remains(monkeypatch, tmp_path, capsys):
  (tmp_path / 'recall_passkey.csv').write_text(CSV.format(memory='none'))
  monkeypatch.setattr(sys, 'argv', ['recall_distance', str(tmp_path)])
  with pytest.raises(SystemExit):
    recall_distance.main()
  assert 'has no rows of 65 segments of continuous, continuous_even,' in capsys.readouterr().err
  assert not (tmp_path / 'recall_distance.png').exists()
