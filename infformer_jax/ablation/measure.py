"""One point of a sweep: trained, evaluated, measured."""

import json
from typing import Any

import jax

from infformer_jax import job
from infformer_jax.ablation.grid import Point
from infformer_jax.console import Console
from infformer_jax.core import capacity
from infformer_jax.data.load import load_corpus, trained_tokenizer
from infformer_jax.evaluation import cost, inspection
from infformer_jax.evaluation.regression_error import regression_error
from infformer_jax.experiment import Experiment
from infformer_jax.files import write_json
from infformer_jax.trained_model import TrainedModel


def run(point: Point, console: Console) -> None:
  """Trains, evaluates and measures one point, or goes on with it; nothing, if it is finished."""
  if point.file.is_file():
    return
  job.train(point.experiment, point.workdir, console)
  figures = measured(point, console)
  write_json(point.file, figures)
  jax.clear_caches()  # The next point compiles programs of its own; those of all would fill the memory.


def estimated(point: Point) -> dict[str, Any]:
  """What a point would cost, from shapes alone."""
  experiment = point.experiment
  model, train = experiment.model, experiment.train
  tokens = train.num_steps * train.batch_size * train.segments_per_chunk * model.segment_length
  # The number of ids is known before the data only for tasks; it has no part in what is shown.
  figures = cost.cost(model, vocab_size=256)
  return {
    'training_tokens': tokens,
    'memory_bytes_per_lane': figures['memory_bytes_per_lane'],
    'memory_flops_per_token': figures['memory_flops_per_token'],
    'training_tflops': 3 * figures['forward_flops_per_token'] * tokens / 1e12,
  }


def measured(point: Point, console: Console) -> dict[str, Any]:
  """The figures of a trained point, ready for JSON; null where there is no such figure."""
  experiment, workdir = point.experiment, point.workdir
  model, train = experiment.model, experiment.train
  console.status('measuring')
  results = json.loads((workdir / 'results.json').read_text(encoding='utf-8'))
  memory = results['memory']
  tokenizer = trained_tokenizer(experiment.data, workdir)
  trained = TrainedModel.load(workdir, model, warn=console.say)
  split_name = experiment.evaluation.split
  split = load_corpus(experiment.data, workdir / 'tokens', {split_name}).split(split_name)
  return {
    'values': point.values,
    'seed': point.seed,
    'step': trained.step,
    'accuracy': memory['accuracy'],
    'loss_nats_per_token': memory['loss_nats_per_token'],
    'perplexity_per_word': memory['perplexity_per_word'],
    'accuracy_by_group': {name: views['memory']['accuracy'] for name, views in results['by_group'].items()},
    'is_task': bool(results['by_group']),
    'regression_error': regression_error(trained, split, tokenizer.bos_id),
    **_of_signal(experiment),
    **cost.cost(model, tokenizer.vocab_size),
    **cost.timed(model, tokenizer.vocab_size, lanes=train.batch_size, segments=train.segments_per_chunk),
    'device': jax.devices()[0].device_kind,
  }


def _of_signal(experiment: Experiment) -> dict[str, Any]:
  """Capacity and effective rank of the first continuous memory, where they are defined."""
  configs = inspection.continuous_configs(experiment.model.memory)
  if not configs:
    return {'capacity': None, 'effective_rank': None}
  spec = next(iter(configs.values())).signal_spec(experiment.model.segment_length)
  # Capacity is a measure of a constant contraction.
  held = None if spec.contraction == 'equal' else capacity.capacity(spec)
  return {'capacity': held, 'effective_rank': capacity.effective_rank(spec)}
