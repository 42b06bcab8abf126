"""The pictures of docs/performance.md are drawn from the JSON of the benchmarks."""

import json
import sys

import pytest

from tests.benchmarks import plots


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
