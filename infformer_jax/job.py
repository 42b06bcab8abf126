"""What a run does: train a model in a work directory, evaluate it, draw what there is to see."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh

from infformer_jax.console import Console
from infformer_jax.data.base import Corpus
from infformer_jax.data.cut_documents import cut
from infformer_jax.data.lanes import train_batches
from infformer_jax.data.load import load_corpus, trained_tokenizer
from infformer_jax.errors import UserError
from infformer_jax.evaluation import inspection, results
from infformer_jax.evaluation.perplexity import evaluate, require_targets
from infformer_jax.evaluation.results_table import results_table
from infformer_jax.experiment import Experiment
from infformer_jax.memory.views import VIEWS
from infformer_jax.train import sharding
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.hooks import Evaluation, Every, Run
from infformer_jax.train.lock import lock
from infformer_jax.train.loop import train
from infformer_jax.train.restore import initial_parameters, restore_model
from infformer_jax.types import Array, Batch, PyTree


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Trained:
  """A model as it is after some steps."""

  graphdef: nnx.GraphDef
  params: PyTree
  mesh: Mesh
  step: int


class Job:
  """An experiment in its work directory."""

  def __init__(self, experiment: Experiment, workdir: pathlib.Path, console: Console):
    self._experiment, self._workdir, self._console = experiment, workdir, console

  def train(self) -> None:
    """Trains, or resumes training, and evaluates at the end."""
    evaluation = self._experiment.evaluation
    lanes = sharding.local_lanes(self._experiment.train.batch_size)
    # Not only after hours of training.
    sharding.local_lanes(evaluation.batch_size, key='evaluation.batch_size')
    with lock(self._workdir):
      self._train(lanes)

  def _train(self, lanes: range) -> None:
    experiment = self._experiment
    model, config, evaluation = experiment.model, experiment.train, experiment.evaluation
    corpus = self._load_corpus({'train', evaluation.split})
    for split in ('train', evaluation.split):
      corpus.split(split)  # Not only at the first evaluation: raises where there is nothing in it.
    require_targets(corpus.split(evaluation.split), evaluation)
    documents = cut(corpus.split('train'), config.max_document_tokens)
    for warning in experiment.warnings(document_tokens=float(documents.lengths.mean())):
      self._console.say(f'warning: {warning}')
    initial = self._initial_parameters(corpus)  # First: where it fails nothing is written.
    self._require_the_same_data(corpus)
    self._write('config.json', dataclasses.asdict(experiment))

    def batches(position: int) -> Iterator[Batch]:
      return train_batches(
        documents,
        corpus.tokenizer.bos_id,
        num_lanes=config.batch_size,
        lanes=lanes,
        segment_length=model.segment_length,
        segments_per_chunk=config.segments_per_chunk,
        seed=experiment.seed,
        start=position,
      )

    def trained(run: Run) -> _Trained:
      return _Trained(graphdef=run.graphdef, params=run.state.params, mesh=run.mesh, step=run.step)

    def validate(run: Run) -> dict[str, float | None]:
      found = self._evaluated(trained(run), corpus, views=['memory'])
      costs = {name: found['cost'][name] for name in ('memory_bytes_per_lane', 'memory_flops_per_token')}
      return results.metrics(found) | costs

    run = train(
      config,
      model,
      vocab_size=corpus.tokenizer.vocab_size,
      seed=experiment.seed,
      batches=batches,
      workdir=self._workdir,
      hooks=[
        Evaluation(config.evaluate_every, evaluation.split, validate),
        Every(config.evaluate_every, lambda _: self._plot_training()),
      ],
      console=self._console,
      initial=initial,
    )
    self._report(trained(run), corpus, 'results.json')
    loss, step = run.best or (None, run.step)
    if (
      step != run.step and step in Checkpoints(self._workdir / 'checkpoints', warn=self._console.say).steps()
    ):
      self._console.say(
        f'lowest in training: {loss:.4f} at step {step}; --mode=eval --step={step} evaluates it'
      )
    self._plot(trained(run), corpus)
    self._console.say(f'all of it is in {self._workdir}: results.json, plots/, metrics.jsonl, checkpoints/')

  def evaluate(self, name: str, step: int | None) -> None:
    """Evaluates a step's checkpoint, or the newest, into W/results_NAME.json and W/inspection_NAME."""
    evaluation = self._experiment.evaluation
    sharding.local_lanes(evaluation.batch_size, key='evaluation.batch_size')
    tokenizer, mesh = trained_tokenizer(self._experiment.data, self._workdir), sharding.make_mesh()
    graphdef, params, step = restore_model(
      self._workdir,
      self._experiment.model,
      vocab_size=tokenizer.vocab_size,
      mesh=mesh,
      warn=self._console.say,
      step=step,
    )
    corpus = self._load_corpus({evaluation.split})
    trained, file = _Trained(graphdef=graphdef, params=params, mesh=mesh, step=step), f'results_{name}.json'
    self._report(trained, corpus, file)
    folder = self._inspect(trained, corpus, f'inspection_{name}')
    self._console.say(
      f'the results are in {self._workdir / file}; to see which tokens profit: '
      f'python -m infformer_jax.plot --workdir={self._workdir} --against={folder}'
    )

  def _load_corpus(self, splits: set[str]) -> Corpus:
    corpus = load_corpus(self._experiment.data, self._workdir / 'tokens', splits)
    self._console.say(corpus.note)
    return corpus

  def _require_the_same_data(self, corpus: Corpus) -> None:
    """A position means nothing in other documents, and embeddings nothing to another tokenizer."""
    now, file = corpus.fingerprint, self._workdir / 'data.json'
    before = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else now
    for what, old, new in (
      ('training documents', before['splits']['train'], now['splits']['train']),
      ('tokenizer', before['tokenizer_sha256'], now['tokenizer_sha256']),
    ):
      if old != new:
        raise UserError(
          f'the {what} have changed since {file} was written: {old}, now {new}; use another --workdir'
        )
    self._write(file.name, now)

  def _initial_parameters(self, corpus: Corpus) -> dict[str, Array] | None:
    """Those of `init_from`, for a run that has saved nothing yet."""
    init_from, say = self._experiment.init_from, self._console.say
    if init_from is None or Checkpoints(self._workdir / 'checkpoints', warn=say).steps():
      return None
    source, tokenizer = pathlib.Path(init_from), corpus.tokenizer
    try:
      trained = trained_tokenizer(self._experiment.data, source)
    except UserError as error:
      raise UserError(f'init_from = {source}: {error}') from None
    if trained.identity != tokenizer.identity:
      raise UserError(
        f'init_from = {source} has learned another tokenizer of the same name; copy {source / "tokens"} into '
        f'{self._workdir} before the first run'
      )
    size, mesh = tokenizer.vocab_size, sharding.make_mesh()
    return initial_parameters(source, self._experiment.model, vocab_size=size, mesh=mesh, say=say)

  def _evaluated(self, trained: _Trained, corpus: Corpus, *, views: Sequence[str]) -> dict[str, Any]:
    self._console.status('evaluating')
    found = evaluate(
      trained.graphdef,
      trained.params,
      corpus,
      self._experiment.evaluation,
      mesh=trained.mesh,
      views=views,
      report=self._console.status,
    )
    return {'step': trained.step, **found}

  def _report(self, trained: _Trained, corpus: Corpus, file: str) -> None:
    """Evaluates with the memory and its controls, into a file and for the terminal."""
    found = self._evaluated(trained, corpus, views=tuple(VIEWS))
    self._write(file, found)
    self._console.say(f'{found["split"]} after step {trained.step}:\n{results_table(found)}')

  def _plot_training(self) -> None:
    from infformer_jax.plotting import workdir  # Here: a mistake in a flag need not wait for matplotlib.

    if jax.process_index() == 0:
      workdir.draw_training(self._workdir)

  def _plot(self, trained: _Trained, corpus: Corpus) -> None:
    """Keeps what there is to draw, and draws it as plot.py does."""
    from infformer_jax.plotting import workdir

    self._inspect(trained, corpus, 'inspection')
    if jax.process_index() == 0:
      workdir.draw(self._workdir)

  def _inspect(self, trained: _Trained, corpus: Corpus, name: str) -> pathlib.Path:
    """Keeps what there is to draw in a folder of the work directory, which is returned."""
    folder = self._workdir / name
    if jax.process_index() == 0:
      self._console.status('drawing')
      inspection.inspect(
        trained.graphdef,
        trained.params,
        self._experiment.model,
        corpus,
        self._experiment.evaluation.split,
        step=trained.step,
        folder=folder,
      )
    return folder

  def _write(self, file: str, content: Any) -> None:
    """Replaces a file as a whole: whoever reads it, and whoever is killed, never meets half of it."""
    if jax.process_index() == 0:
      partial = self._workdir / f'{file}.partial'
      partial.write_text(json.dumps(content, indent=2, allow_nan=False) + '\n', encoding='utf-8')
      os.replace(partial, self._workdir / file)
