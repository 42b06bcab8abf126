"""What a command does in a work directory W: train a model and evaluate it, or evaluate it again."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh

from infformer_jax import resume
from infformer_jax.console import Console
from infformer_jax.data.base import Corpus
from infformer_jax.data.cut_documents import cut_documents
from infformer_jax.data.lanes import evaluated_lengths, train_batches
from infformer_jax.data.load import load_corpus, trained_tokenizer
from infformer_jax.evaluation import inspection, perplexity
from infformer_jax.evaluation.cost import training_flops_per_token
from infformer_jax.evaluation.results import metrics
from infformer_jax.evaluation.results_table import results_table
from infformer_jax.experiment import Experiment
from infformer_jax.files import write_json
from infformer_jax.initial import with_position_drift
from infformer_jax.run_warnings import beyond_horizon, run_warnings
from infformer_jax.train import loop, restore, sharding
from infformer_jax.train.accumulation import require_whole_groups
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.hooks import Evaluation, Every, Run
from infformer_jax.train.mesh import lane_shards, make_mesh, require_fit, require_lanes
from infformer_jax.train.workdir_lock import lock_workdir
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Batch


def train(
  experiment: Experiment, workdir: epath.Path, console: Console, *, like: epath.Path | None = None
) -> None:
  """Trains a model, or resumes its training, and evaluates it at the end; a finished run is only evaluated.

  Args:
    experiment: what to train.
    workdir: W; everything is kept there, and it is created if necessary.
    console: takes progress and figures.
    like: the work directory of another run, with whose data a new run must agree.
  Raises:
    UserError: another process trains in `workdir`, or it was made with other data.
    Stopped: a value is not finite, storage is full or out of reach, or the process received SIGTERM.
  """
  config, evaluation = experiment.train, experiment.evaluation
  # These checks come before the training: its end may be hours away.
  mesh = fitting_mesh(experiment, trains=True)
  start = resume.start(experiment, workdir)
  with lock_workdir(workdir, console.say):
    corpus = _load_corpus(experiment, workdir, ('train', evaluation.split), console)
    perplexity.require_targets(corpus.split(evaluation.split), evaluation)
    documents = cut_documents(corpus.split('train'), config.max_document_tokens)
    warnings = [
      *run_warnings(experiment, corpus.split('train'), workdir),
      *_beyond_horizon(experiment, corpus),
    ]
    for warning in dict.fromkeys(warnings):  # The split of the evaluation may be 'train'.
      console.say(f'warning: {warning}')
    # If it fails, nothing is written.
    initial = resume.initial_parameters(experiment, workdir, corpus, start, console)
    restore.require_fit(workdir, experiment.model, vocab_size=corpus.tokenizer.vocab_size)
    _write(workdir / 'data.json', resume.data_record(experiment, workdir, corpus, initial, like))
    if initial is not None:
      initial = with_position_drift(initial, experiment.model, documents, mesh, console.say)
    _write(workdir / 'config.json', dataclasses.asdict(experiment))

    def batches(position: int) -> Iterator[Batch]:
      return train_batches(
        documents,
        corpus.tokenizer.bos_id,
        num_lanes=config.batch_size,
        lanes=sharding.local_lanes(mesh, config.batch_size),
        segment_length=experiment.model.segment_length,
        segments_per_chunk=config.segments_per_chunk,
        seed=experiment.seed,
        start=position,
      )

    def validate(run: Run) -> dict[str, float | None]:
      console.status('evaluating')
      results = perplexity.evaluate(
        _trained(run), corpus, evaluation, views=['memory'], report=console.status
      )
      cost = results['cost']
      return metrics(results) | {
        'memory_bytes_per_lane': cost['memory_bytes_per_lane'],
        'memory_flops_per_token': cost['memory_flops_per_token'],
      }

    run = loop.train(
      config,
      experiment.model,
      vocab_size=corpus.tokenizer.vocab_size,
      seed=experiment.seed,
      batches=batches,
      workdir=workdir,
      hooks=[
        Evaluation(config.evaluate_every, evaluation.split, validate),
        Every(config.evaluate_every, lambda run: _plot_training(run, workdir)),
      ],
      measured_on=perplexity.measured_on(corpus, evaluation),
      console=console,
      flops_per_token=lambda: training_flops_per_token(
        experiment.model, corpus.tokenizer.vocab_size, config.optimizer.trained
      ),
      initial=initial,
    )
    _report(_trained(run), experiment, corpus, workdir / 'results.json', console)
    _say_best(run, workdir, console)
    _inspect(_trained(run), experiment, corpus, workdir / 'inspection', console)
    _plot(workdir)
    console.say(f'everything is in {workdir}: results.json, plots/, metrics.jsonl, checkpoints/')


def evaluate(
  experiment: Experiment, workdir: epath.Path, console: Console, *, name: str, step: int | None = None
) -> None:
  """Evaluates the model of a work directory, into W/results_NAME.json and W/inspection_NAME.

  Args:
    experiment: that of `workdir`, or one whose parameters are the same.
    workdir: W, of a finished or current training run.
    console: takes progress and figures.
    name: NAME.
    step: the step of the checkpoint; None: the newest.
  Raises:
    UserError: there is no such checkpoint, or it does not fit the experiment.
  """
  mesh = fitting_mesh(experiment, trains=False)
  trained_tokenizer(experiment.data, workdir)  # Raises if the data's tokenizer is not the model's.
  trained = TrainedModel.load(workdir, experiment.model, step=step, mesh=mesh, warn=console.say)
  corpus = _load_corpus(experiment, workdir, [experiment.evaluation.split], console)
  for warning in _beyond_horizon(experiment, corpus):
    console.say(f'warning: {warning}')
  file, folder = workdir / f'results_{name}.json', workdir / f'inspection_{name}'
  _report(trained, experiment, corpus, file, console)
  _inspect(trained, experiment, corpus, folder, console)
  console.say(
    f'the results are in {file}; to see which tokens benefit: '
    f'python -m infformer_jax.plot --workdir={workdir} --against={folder}'
  )


def fitting_mesh(experiment: Experiment, *, trains: bool) -> Mesh:
  """The mesh of an experiment, if it fits the model and the lanes, those of the training only if it `trains`.

  Raises:
    ConfigError: it does not.
  """
  mesh = make_mesh(experiment.train.mesh)
  require_fit(mesh, experiment.model)
  require_lanes(mesh, experiment.evaluation.batch_size, 'evaluation.batch_size')
  if trains:
    lanes, groups = experiment.train.batch_size, experiment.train.accumulate_steps
    require_lanes(mesh, lanes, 'train.batch_size')
    require_whole_groups(lanes, groups, lane_shards(mesh))
  return mesh


def _trained(run: Run) -> TrainedModel:
  return TrainedModel(graphdef=run.graphdef, params=run.state.params, mesh=run.mesh, step=run.step)


def _load_corpus(
  experiment: Experiment, workdir: epath.Path, splits: Collection[str], console: Console
) -> Corpus:
  """The data; every one of the splits has documents."""
  corpus = load_corpus(experiment.data, workdir, splits)
  console.say(corpus.note)
  for split in splits:
    corpus.split(split)
  return corpus


def _beyond_horizon(experiment: Experiment, corpus: Corpus) -> Iterator[str]:
  """What `run_warnings` says of training documents, for what the evaluation reads."""
  evaluation = experiment.evaluation
  lengths_i = evaluated_lengths(corpus.split(evaluation.split), evaluation.max_tokens)
  return beyond_horizon(experiment, evaluation.split, lengths_i, 'document')


def _report(
  trained: TrainedModel, experiment: Experiment, corpus: Corpus, file: epath.Path, console: Console
) -> None:
  """Evaluates with the memory and its controls, into a file and for the terminal."""
  console.status('evaluating')
  results = perplexity.evaluate(trained, corpus, experiment.evaluation, report=console.status)
  _write(file, results)
  console.say(f'{results["split"]} after step {trained.step}:\n{results_table(results)}')
  memory = results['memory']
  if memory['loss_nats_per_token'] is None:
    console.say(f'warning: the loss is {memory["loss_nats_per_token_reason"]}; {file} has all reasons')


def _say_best(run: Run, workdir: epath.Path, console: Console) -> None:
  """Names the step with the lowest loss if it is an earlier one whose checkpoint exists."""
  best, checkpoints = run.best, Checkpoints(workdir / 'checkpoints', warn=console.say)
  if best and best.step != run.step and best.step in checkpoints.steps():
    console.say(
      f'lowest in training: {best.loss:.4f} at step {best.step}; --mode=eval --step={best.step} evaluates it'
    )


def _inspect(
  trained: TrainedModel, experiment: Experiment, corpus: Corpus, folder: epath.Path, console: Console
) -> None:
  """Saves the plot data in a folder."""
  console.status('inspecting')
  inspection.inspect(trained, corpus, experiment.evaluation.split, folder)


def _plot_training(run: Run, workdir: epath.Path) -> None:
  from infformer_jax.plotting import workdir as plots  # Here, since matplotlib takes seconds to import.

  run.metrics.flush()  # The plot shows what is stored.
  if jax.process_index() == 0:
    plots.draw_training(workdir)


def _plot(workdir: epath.Path) -> None:
  from infformer_jax.plotting import workdir as plots

  if jax.process_index() == 0:
    plots.draw(workdir)


def _write(file: epath.Path, content: Any) -> None:
  """Writes a JSON file, once for all processes."""
  if jax.process_index() == 0:
    write_json(file, content)
