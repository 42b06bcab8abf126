"""Training and evaluation as functions, in this process; tests/test_main.py tests real processes."""

import dataclasses
import fcntl
import io
import json

import numpy as np
import pytest

from infformer_jax import TrainedModel, job
from infformer_jax.console import Console
from infformer_jax.errors import UserError
from infformer_jax.experiment import load_experiment
from infformer_jax.results_schema import Results
from infformer_jax.train.checkpoint import Checkpoints
from tests.ablation.sweep import write_config
from tests.schema import assert_conforms


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
  return load_experiment(write_config(tmp_path_factory.mktemp('config')))


@pytest.fixture(scope='module')
def trained(experiment, tmp_path_factory):
  """(work directory, standard output) of a finished training run."""
  workdir, stream = tmp_path_factory.mktemp('job') / 'W', io.StringIO()
  job.train(experiment, workdir, Console(stream))
  return workdir, stream.getvalue()


def test_a_training_run_saves_a_model_and_its_results(trained, experiment):
  workdir, printed = trained
  model = TrainedModel.load(workdir)
  assert (model.step, model.config) == (experiment.train.num_steps, experiment.model)
  results = json.loads((workdir / 'results.json').read_text())
  assert_conforms(results, Results)
  assert results['step'] == model.step
  assert (workdir / 'inspection' / 'about.json').is_file()
  assert printed.splitlines()[-1].startswith(f'everything is in {workdir}: ')


def test_an_evaluation_of_the_same_model_writes_equal_results_to_separate_files(trained, experiment):
  workdir, _ = trained
  stream = io.StringIO()
  job.evaluate(experiment, workdir, Console(stream), name='again')
  again, before = (
    json.loads((workdir / name).read_text()) for name in ('results_again.json', 'results.json')
  )
  assert again | {'corpus': None} == before | {
    'corpus': None
  }  # Only training runs fingerprint their documents.
  assert (workdir / 'inspection_again' / 'about.json').is_file()
  assert f'--against={workdir / "inspection_again"}' in stream.getvalue()


def test_the_lock_is_released_at_the_end_and_respected_at_the_start(trained, experiment):
  workdir, _ = trained
  with open(workdir / 'lock', 'a') as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(UserError, match='another run is training in'):
      job.train(experiment, workdir, Console(io.StringIO()))


def test_other_training_documents_are_rejected(trained, experiment):
  workdir, _ = trained
  data = dataclasses.replace(experiment.data, num_train=7)
  with pytest.raises(UserError, match='the training documents have changed since'):
    job.train(dataclasses.replace(experiment, data=data), workdir, Console(io.StringIO()))


def test_init_from_is_checked_before_the_data_are_read(experiment, tmp_path, monkeypatch):
  monkeypatch.setattr(job, 'load_corpus', lambda *args: pytest.fail('the data were read'))
  asked = dataclasses.replace(experiment, init_from=str(tmp_path / 'nowhere'))
  with pytest.raises(UserError, match=r'init_from = .*nowhere: .*data\.json does not exist'):
    job.train(asked, tmp_path / 'W', Console(io.StringIO()))
  assert not (tmp_path / 'W').exists()


def test_checkpoints_that_do_not_fit_are_refused_before_anything_is_written(experiment, tmp_path):
  workdir = tmp_path / 'W'
  checkpoints = Checkpoints(workdir / 'checkpoints', warn=pytest.fail)
  run = {'data_position': 1, 'totals': {}, 'best': None}
  checkpoints.save(1, {'params': {'old': np.zeros(3, np.float32)}}, run, best=None)
  checkpoints.wait()
  with pytest.raises(UserError, match=r'another version of the package wrote it: params/old is float32\[3\]'):
    job.train(experiment, workdir, Console(io.StringIO()))
  assert not list(workdir.glob('*.json'))
