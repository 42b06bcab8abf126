"""`python -m infformer_jax.plot`: redraws the plots of a run from its logs."""

import dataclasses
import json
import shutil

import pytest

from infformer_jax.data.base import Corpus, StoredSplit
from infformer_jax.data.tokenizers import Bytes
from infformer_jax.evaluation import inspection
from infformer_jax.plotting import workdir as plotting
from tests import toy
from tests.config.test_command_line import refusal, run
from tests.plotting.results import BY_POSITION

TEXT = 'The river, the stone & the <light>. ' * 3


def write(workdir, memory, *, text=TEXT, by_group=None, **results):
  """Writes the files of a finished run."""
  tokenizer, model = Bytes(), toy.config(memory)
  corpus = Corpus(
    tokenizer=tokenizer,
    splits={'validation': StoredSplit.from_tokens([tokenizer.encode(text)])},
    fingerprint={},
    note='',
  )
  trained = toy.trained(model, vocabulary=tokenizer.vocab_size, step=1)
  inspection.inspect(trained, corpus, 'validation', workdir / 'inspection')
  (workdir / 'config.json').write_text(json.dumps({'model': dataclasses.asdict(model)}))
  found = {
    'by_position': BY_POSITION | {'num_tokens': [9, 9, 9]},
    'beyond_reach_from_token': 256,
    'by_group': by_group or {},
  }
  (workdir / 'results.json').write_text(json.dumps(found | results))
  lines = [{'step': step, 'split': 'train', 'loss_nats_per_token': 3.0} for step in (1, 2)]
  whole = ''.join(json.dumps(line) + '\n' for line in lines)
  (workdir / 'metrics.jsonl').write_text(whole + '{"step": 3, "spl')  # An incomplete line.
  return workdir


@pytest.fixture(scope='module')
def continuous(tmp_path_factory):
  return write(tmp_path_factory.mktemp('runs') / 'continuous', toy.MEMORIES['stacked'])


@pytest.fixture(scope='module')
def neighbours(tmp_path_factory):
  return write(tmp_path_factory.mktemp('runs') / 'neighbours', toy.MEMORIES['neighbours'])


def drawn(workdir):
  shutil.rmtree(workdir / 'plots', ignore_errors=True)
  assert plotting.draw(workdir)
  return {path.name: path.read_bytes() for path in (workdir / 'plots').iterdir()}


def test_a_run_with_a_signal_has_its_plots(continuous):
  assert set(drawn(continuous)) == {
    'loss.png',
    'loss_by_position.png',
    'where_layers_read.png',
    'where_heads_read_layer_0_first.png',
    'where_heads_read_layer_1_first.png',
    'sticky_histogram.png',
    'held_spans.png',
    'held_spans.html',
    'profit.png',
    'profit.html',
    'first_basis.png',
    'first_reconstruction.png',
  }


def test_a_run_with_neighbours_has_its_plots(neighbours):
  expected = {'loss.png', 'loss_by_position.png', 'retrieved_ages.png', 'profit.png', 'profit.html'}
  assert set(drawn(neighbours)) == expected


def test_a_task_has_accuracies_but_no_loss_by_position(tmp_path):
  by_group = {
    f'distance_{d}': {'memory': {'accuracy': 1 / d}, 'emptied': {'accuracy': None}} for d in (1, 2, 4)
  }
  alone = BY_POSITION | {'num_tokens': [0, 0, 9]}
  write(tmp_path, toy.small('none'), by_group=by_group, by_position=alone)
  assert set(drawn(tmp_path)) == {'loss.png', 'accuracy_by_group.png'}


def test_the_command_redraws_the_same_plots_and_compares_runs(continuous, neighbours):
  before = drawn(continuous)
  shutil.rmtree(continuous / 'plots')
  done = run('-m', 'infformer_jax.plot', f'--workdir={continuous}', f'--against={neighbours}')
  assert (done.returncode, done.stderr) == (0, '')
  assert done.stdout == f'the plots are in {continuous / "plots"}\n'
  after = {path.name: path.read_bytes() for path in (continuous / 'plots').iterdir()}
  assert after.keys() - before.keys() == {'profit_against_neighbours.png', 'profit_against_neighbours.html'}
  assert [name for name in before if before[name] != after[name]] == []


@pytest.mark.slow
def test_an_evaluation_of_the_same_run_can_be_compared_through_its_inspection(continuous, neighbours):
  evaluated = shutil.copytree(neighbours / 'inspection', continuous / 'inspection_longer')
  done = run('-m', 'infformer_jax.plot', f'--workdir={continuous}', f'--against={evaluated}')
  assert (done.returncode, done.stderr) == (0, '')
  (page,) = (continuous / 'plots').glob('profit_against_inspection_longer.html')
  assert 'inspection_longer (neighbours)' in page.read_text()
  shutil.rmtree(evaluated)


@pytest.mark.slow
def test_missing_plot_data_are_one_line_errors(continuous, tmp_path):
  (tmp_path / 'empty').mkdir()
  write(tmp_path / 'other', toy.small('none'), text=TEXT + 'more')
  plot = ('-m', 'infformer_jax.plot')
  assert 'is missing' in refusal(*plot)
  assert 'missing is not a directory' in refusal(*plot, f'--workdir={tmp_path / "missing"}')
  assert 'empty has no data for plots' in refusal(*plot, f'--workdir={tmp_path / "empty"}')
  workdir = f'--workdir={continuous}'
  assert 'empty has no inspection; a run writes it when it finishes' in refusal(
    *plot, workdir, f'--against={tmp_path / "empty"}'
  )
  assert 'with another text or tokenizer than --workdir = ' in refusal(
    *plot, workdir, f'--against={tmp_path / "other"}'
  )
  about = tmp_path / 'other' / 'inspection' / 'about.json'
  about.write_text(about.read_text().replace('"nll_t"', '"losses"'))
  assert f"{about}: no field 'record/nll_t'; to write it again, run" in refusal(
    *plot, f'--workdir={tmp_path / "other"}'
  )
  (tmp_path / 'other' / 'metrics.jsonl').unlink(missing_ok=True)
  (tmp_path / 'other' / 'metrics.jsonl').mkdir()
  assert f'cannot use {tmp_path}/other/metrics.jsonl: Is a directory' in refusal(
    *plot, f'--workdir={tmp_path / "other"}'
  )
