"""Training and evaluation as functions, in this process; tests/test_main.py tests real processes."""

import dataclasses
import fcntl
import io
import itertools
import json
import shutil
from collections import defaultdict

import chex
import numpy as np
import pytest

from infformer_jax import TrainedModel, job
from infformer_jax.console import Console
from infformer_jax.data import token_files
from infformer_jax.data.text import TextConfig
from infformer_jax.errors import UserError
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment, load_experiment
from infformer_jax.memory.none import NothingConfig
from infformer_jax.results_schema import Results
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.exits import Stopped
from infformer_jax.train.loop import TrainConfig
from tests import toy
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


def with_horizon(experiment, horizon, **evaluation) -> Experiment:
  """With a logarithmic memory, which has the same parameters."""
  memory = dataclasses.replace(experiment.model.memory, contraction='log', horizon=horizon)
  return dataclasses.replace(
    experiment,
    model=dataclasses.replace(experiment.model, memory=memory),
    evaluation=dataclasses.replace(experiment.evaluation, **evaluation),
  )


@pytest.mark.parametrize(('max_tokens', 'read'), [(29, None), (30, 30), (62, 31), (None, 31)])
def test_an_evaluation_warns_of_documents_that_it_reads_beyond_the_horizon(
  trained, experiment, monkeypatch, max_tokens, read
):
  for name in ('_report', '_inspect'):
    monkeypatch.setattr(job, name, lambda *args: None)
  stream = io.StringIO()
  logarithmic = with_horizon(experiment, 29.0, max_tokens=max_tokens)
  job.evaluate(logarithmic, trained[0], Console(stream), name='log')
  lines = [line.split(' of split ')[0] for line in stream.getvalue().splitlines() if 'warning: ' in line]
  assert lines == ([f'warning: model.memory.horizon = 29: {read} tokens of document 0'] if read else [])


def test_a_warning_of_both_training_and_evaluation_is_printed_once(experiment, tmp_path, monkeypatch):
  def stop(*args):
    raise Stopped('after the warnings')

  monkeypatch.setattr(job.resume, 'initial_parameters', stop)
  stream = io.StringIO()
  with pytest.raises(Stopped):
    job.train(with_horizon(experiment, 29.0, split='train'), tmp_path / 'W', Console(stream))
  assert stream.getvalue().count('warning: model.memory.horizon = 29: 31 tokens of document 0') == 1


@pytest.mark.slow
def test_a_model_can_be_evaluated_in_another_compute_dtype(trained, experiment, tmp_path, monkeypatch):
  """The parameters are float32 in both; the losses differ by the rounding of bfloat16."""
  for name in ('_inspect', '_plot'):
    monkeypatch.setattr(job, name, lambda *args: None)
  float32, narrow = trained[0], dataclasses.replace(experiment.model, compute_dtype='bfloat16')
  rounded = dataclasses.replace(experiment, model=narrow, init_from=str(float32))

  def loss(workdir, file='results_eval.json'):
    return json.loads((workdir / file).read_text())['memory']['loss_nats_per_token']

  job.evaluate(rounded, float32, Console(io.StringIO()), name='eval')
  assert 0 < abs(loss(float32) - loss(float32, 'results.json')) < 0.01
  job.train(rounded, tmp_path / 'W', Console(io.StringIO()))
  job.evaluate(experiment, tmp_path / 'W', Console(io.StringIO()), name='eval')
  assert 0 < abs(loss(tmp_path / 'W') - loss(tmp_path / 'W', 'results.json')) < 0.01


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


def test_the_order_of_documents_depends_on_the_seed_and_not_on_the_memory(experiment, tmp_path, monkeypatch):
  def first_batches(name, **changes):
    read = []

    def read_some(*args, batches, **kwargs):
      read.extend(itertools.islice(batches(0), 3))
      raise Stopped('enough')

    monkeypatch.setattr(job.loop, 'train', read_some)
    with pytest.raises(Stopped):
      job.train(dataclasses.replace(experiment, **changes), tmp_path / name, Console(io.StringIO()))
    return read

  without = dataclasses.replace(experiment.model, memory=NothingConfig())
  one, same, other = (
    first_batches('one'),
    first_batches('same', model=without),
    first_batches('other', seed=1),
  )
  chex.assert_trees_all_equal(same, one)
  assert any((a.tokens_bsl != b.tokens_bsl).any() for a, b in zip(one, other, strict=True))


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


def test_the_best_restarts_where_the_evaluations_cover_other_text(tmp_path, monkeypatch):
  """A low loss on 64 easy tokens is not the best of losses on the whole split."""
  folder, losses = tmp_path / 'texts', iter([1.0, 4.0, 3.0, 3.5])
  for name in ('train/1', 'validation/1', 'validation/2'):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / f'{name}.txt').write_text(f'The text {name}. ' * 20)
  for name in ('_report', '_inspect', '_plot', '_plot_training'):
    monkeypatch.setattr(job, name, lambda *args: None)
  monkeypatch.setattr(job.perplexity, 'evaluate', lambda *args, **settings: {'cost': defaultdict(float)})
  monkeypatch.setattr(job, 'metrics', lambda results: {'loss_nats_per_token': next(losses)})
  checkpoints = Checkpoints(tmp_path / 'W' / 'checkpoints', warn=pytest.fail)

  def train(num_steps: int, max_tokens: int | None) -> list[str]:
    stream, experiment = (
      io.StringIO(),
      Experiment(
        model=toy.config(num_layers=1),
        data=TextConfig(source_dir=str(folder), tokenizer='bytes'),
        train=TrainConfig(num_steps=num_steps, batch_size=1, evaluate_every=1, checkpoint_every=100),
        evaluation=EvaluationConfig(batch_size=num_steps, max_tokens=max_tokens),
      ),
    )
    job.train(experiment, tmp_path / 'W', Console(stream))
    return [line for line in stream.getvalue().splitlines() if 'lowest' in line]

  (lowest,) = train(2, 64)
  assert lowest == 'lowest in training: 1.0000 at step 1; --mode=eval --step=1 evaluates it'
  (folder / 'validation/2.txt').write_text('Another text. ' * 20)
  restart, lowest = train(4, None)
  assert restart.startswith('the lowest loss, 1.0000 at step 1, cannot be compared with later ones (')
  assert 'evaluation.max_tokens: 64, now None; ' in restart
  assert '; sha256 of the split: ' in restart
  assert 'batch_size' not in restart
  assert lowest == 'lowest in training: 3.0000 at step 3; --mode=eval --step=3 evaluates it'
  assert checkpoints.steps() == [3, 4]


@pytest.mark.slow
def test_a_run_resumes_after_its_data_and_its_work_directory_have_moved(experiment, tmp_path, monkeypatch):
  for split, count in (('train', 3), ('validation', 1)):
    (tmp_path / 'old' / split).mkdir(parents=True)
    for index in range(count):
      (tmp_path / 'old' / split / f'{index}.txt').write_text(f'text {index} ' * 40)

  def run(folder, workdir, steps):
    data = TextConfig(source_dir=str(tmp_path / folder), tokenizer='bytes')
    train = dataclasses.replace(experiment.train, num_steps=steps)
    stream = io.StringIO()
    asked = dataclasses.replace(experiment, data=data, train=train)
    job.train(asked, tmp_path / workdir, Console(stream))
    return stream.getvalue()

  run('old', 'W', 2)
  shutil.copytree(tmp_path / 'old', tmp_path / 'new', copy_function=shutil.copyfile)
  shutil.rmtree(tmp_path / 'old')
  shutil.move(tmp_path / 'W', tmp_path / 'W2')
  with monkeypatch.context() as patched:
    patched.setattr(token_files, 'write', lambda *args: pytest.fail('tokenized again'))
    assert 'resuming from checkpoint 2\n' in run('new', 'W2', 3)
  assert not (tmp_path / 'W').exists()
  config = json.loads((tmp_path / 'W2' / 'config.json').read_text())
  assert config['data']['source_dir'] == str(tmp_path / 'new')
  (tmp_path / 'new' / 'train' / '0.txt').write_text('other ' * 40)
  with pytest.raises(UserError, match='the training documents have changed since .*source_dir'):
    run('new', 'W2', 4)
