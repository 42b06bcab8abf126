"""The config of the sweeps in tests (the sorting task, a tiny model), and the figures of one run."""

import pathlib

from infformer_jax.ablation.grid import Axis
from infformer_jax.results_schema import NamedFigures, PointFigures

CONFIG = """
from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.sorting import SortingConfig
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.loop import TrainConfig

def get_config(argument=None):
  kind = parse_argument(argument, memory=('continuous', ('none', 'continuous'))).memory
  memories = {'none': NothingConfig(), 'continuous': ContinuousConfig(num_basis=8, num_samples=16)}
  sizes = dict(d_model=16, num_layers=1, num_heads=2, d_ff=16, segment_length=8, short_term_length=8)
  return config_dict(Experiment(
    model=ModelConfig(**sizes, positions='rotary', memory=memories[kind]),
    data=SortingConfig(length=26, num_symbols=4, num_train=100, num_evaluation=8),
    train=TrainConfig(num_steps=3, batch_size=2, segments_per_chunk=4, evaluate_every=100),
    evaluation=EvaluationConfig(batch_size=2),
  ))
"""
BASIS = Axis(key='model.memory.num_basis', values=('8', '16'))


def write_config(folder: pathlib.Path) -> str:
  """Writes the config file into a folder, and returns its path."""
  file = folder / 'tiny.py'
  file.write_text(CONFIG)
  return str(file)


def figures(values, seed, accuracy, **groups):
  """The content of a point.json; every other figure is the seed."""
  every = dict.fromkeys(PointFigures.__required_keys__, float(seed))
  return every | {
    'values': values,
    'seed': seed,
    'step': 10,
    'accuracy': accuracy,
    'loss_nats_per_token': 1.0,
    'perplexity_per_word': None,
    'is_task': True,
    'accuracy_by_group': groups,
  }


TOKENS, TOKENS_BEYOND = [40, 40, 40, 15], [20, 20, 20, 0]


def text_run(values, seed, kind, nats, nats_beyond=(0.0, 0.0, 0.0, 0.0), *, text='a') -> NamedFigures:
  """A finished run on four documents of text; only documents 0, 1 and 2 extend beyond the reach."""
  by_document = {
    'num_tokens': TOKENS,
    'nats': list(nats),
    'num_tokens_beyond_reach': TOKENS_BEYOND,
    'nats_beyond_reach': list(nats_beyond),
  }
  return figures(list(values), seed, None) | {
    'run': f'{",".join(values)},seed={seed}',
    'is_task': False,
    'memory_kind': kind,
    'measured_on': {'sha256 of the split': text},
    'by_document': by_document,
    'loss_nats_per_token': sum(nats) / sum(TOKENS),
  }
