"""One run of a sweep: trains, evaluates and measures a model."""

import json
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath

from infformer_jax import job
from infformer_jax.ablation.grid import Point
from infformer_jax.console import Console
from infformer_jax.data.load import load_corpus, trained_tokenizer
from infformer_jax.evaluation import cost
from infformer_jax.evaluation.perplexity import measured_on
from infformer_jax.evaluation.regression_error import regression_error
from infformer_jax.evaluation.signal_figures import signal_figures
from infformer_jax.files import write_json
from infformer_jax.results_schema import PointFigures, Results
from infformer_jax.trained_model import TrainedModel


def run(point: Point, points: Sequence[Point], console: Console) -> None:
  """Trains, evaluates and measures the model of a point, or resumes this; a finished one is skipped.

  Args:
    point: of the sweep.
    points: all of them; those with the same `data` and `init_from` must agree in the content of these.
    console: takes progress and figures.
  """
  if point.file.exists():
    return
  job.train(point.experiment, point.workdir, console, like=_like(point, points))
  figures = measure(point, console)
  if jax.process_index() == 0:
    write_json(point.file, figures)
  jax.clear_caches()  # The compiled programs of all points would fill the memory; no two points share any.


def _like(point: Point, points: Sequence[Point]) -> epath.Path | None:
  """The work directory of a point that was started with the same data and the same `init_from`."""
  given = point.experiment.data, point.experiment.init_from
  for other in points:
    if (other.experiment.data, other.experiment.init_from) == given and (
      other.workdir / 'data.json'
    ).exists():
      return other.workdir
  return None


def estimate(point: Point) -> dict[str, Any]:
  """What a run would cost, from shapes alone."""
  experiment = point.experiment
  model, train = experiment.model, experiment.train
  tokens = train.num_steps * train.batch_size * train.segments_per_chunk * model.segment_length
  # The size of the vocabulary is not known before the data are read, and no figure below depends on it.
  figures = cost.cost(model, vocab_size=256)
  return {
    'training_tokens': tokens,
    'memory_bytes_per_lane': figures['memory_bytes_per_lane'],
    'memory_flops_per_token': figures['memory_flops_per_token'],
    'training_tflops': 3 * figures['forward_flops_per_token'] * tokens / 1e12,
  }


def measure(point: Point, console: Console) -> PointFigures:
  """The figures of a trained point; None where a figure does not exist."""
  experiment, workdir = point.experiment, point.workdir
  model, train = experiment.model, experiment.train
  console.status('measuring')
  results: Results = json.loads((workdir / 'results.json').read_bytes())
  memory = results['memory']
  tokenizer = trained_tokenizer(experiment.data, workdir)
  trained = TrainedModel.load(workdir, model, warn=console.say)
  split_name = experiment.evaluation.split
  corpus = load_corpus(experiment.data, workdir, {split_name})
  return {
    'values': list(point.values),
    'seed': point.seed,
    'step': trained.step,
    'accuracy': memory['accuracy'],
    'loss_nats_per_token': memory['loss_nats_per_token'],
    'perplexity_per_word': memory['perplexity_per_word'],
    'accuracy_by_group': {name: views['memory']['accuracy'] for name, views in results['by_group'].items()},
    'is_task': bool(results['by_group']),
    'memory_kind': model.memory.kind,
    'measured_on': measured_on(corpus, experiment.evaluation),
    'by_document': results['by_document']['memory'],
    'regression_error': regression_error(trained, corpus.split(split_name), tokenizer.bos_id),
    **signal_figures(model),
    **cost.cost(model, tokenizer.vocab_size),
    **cost.timed(model, tokenizer.vocab_size, lanes=train.batch_size, segments=train.segments_per_chunk),
    'device': jax.devices()[0].device_kind,
  }
