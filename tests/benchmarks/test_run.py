"""The command of the benchmarks, with a subject that measures nothing."""

import json
import types

import jax
import pytest

from tests.benchmarks import run
from tests.benchmarks.measure import Effort, interleaved
from tests.benchmarks.table import Goal, exact


@pytest.fixture(autouse=True)
def subject(monkeypatch):
  def rows(quick):
    yield exact(f'quick {quick}', 'MiB', 3.0, goal=Goal(at_most=2, of='ours'))

  monkeypatch.setattr(run, 'SUBJECTS', {'sizes': types.SimpleNamespace(rows=rows), 'broken': None})
  monkeypatch.setattr(run, 'tune_process', lambda: None)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


def test_the_table_and_the_json_have_the_rows_of_the_selected_subjects(tmp_path, capsys):
  run.main(['--only', 'sizes', '--json', str(tmp_path / 'rows.json')])
  printed = capsys.readouterr()
  assert printed.out.splitlines()[-1] == '| quick False | 3.00 MiB |  |  | ≤ 2 MiB | no |'
  assert 'sizes (1 of 1)' in printed.err
  written = json.loads((tmp_path / 'rows.json').read_text())
  assert [row['what'] for row in written['rows']] == ['quick False']
  assert written['cores'] >= 1
  assert written['jax']


def test_a_quick_table_has_no_goals(capsys):
  run.main(['--only', 'sizes', '--quick'])
  assert capsys.readouterr().out.splitlines()[-1] == '| quick True | 3.00 MiB |  |  |  | - |'


def test_an_unknown_subject_is_refused_before_anything_is_measured(capsys):
  with pytest.raises(SystemExit, match="there is no 'size', ''; use some of sizes,broken"):
    run.main(['--only', 'sizes,size,'])
  assert capsys.readouterr().out == ''


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, capsys):
  with pytest.raises(SystemExit, match='Is a directory; use a file that can be written'):
    run.main(['--only', 'sizes', '--json', str(tmp_path)])
  assert capsys.readouterr().out == ''


def test_contestants_run_in_turn_after_one_run_that_is_not_measured():
  order = []
  times = interleaved(
    {name: lambda name=name: order.append(name) for name in 'ab'}, Effort(rounds=3, seconds=0)
  )
  assert order == [*'ab', *'ab', *'ba', *'ab']
  assert [len(seconds) for seconds in times.values()] == [3, 3]
