"""The sorting task of the ∞-former's paper, with any of the memories.

    python -m infformer_jax.main --config=configs/sort.py --workdir=W
    python -m infformer_jax.main --config=configs/sort.py:memory=recent,length=16000,size=paper --workdir=W

A sequence over 20 symbols, then the symbols in the order of their frequency; loss and accuracy are those of
the answer alone. `memory` is one of the kinds in memory/matched_sizes.py, such as none, recent, compressive,
neighbours, continuous or continuous_log. At cpu and gpu the memories hold the same number of bytes, except
neighbours at cpu, which holds a third more (whole segments in one layer of three); recent_4x, recent_8x and
recent_16x are exact windows of more tokens. At these two sizes a chunk holds one sequence, so gradients reach
every write. `length` is the number of symbols in the sequence, at least 2.

The form of an answer (no symbol twice) is cheap to learn in short sequences: 43 symbols and their answer are
one segment of 64. All memories can start from such a model, and then only have to learn to remember:

    python -m infformer_jax.main --config=configs/sort.py:memory=none,length=43 --workdir=SHORT \\
      --config.train.batch_size=32 --config.train.num_steps=2000
    python -m infformer_jax.main --config=configs/sort.py --workdir=W --config.init_from=SHORT \\
      --config.train.num_steps=400 --config.train.optimizer.learning_rate=2e-3

    size    parameters  sequence  segments and cache  hardware      time
    cpu     0.20 M           512                  64  one CPU core  9 minutes from SHORT; accuracy .65
    gpu     9 M            4,000                 512  one GPU       not yet measured
    paper   3.5 M          8,000               1,024  one GPU       not yet measured

`paper` is the published setting (3 layers of width 300, Adam at 2e-4 without warm-up, 20,000 steps of 8
lanes, one segment per chunk) with the published memory. docs/results.md has the accuracies.
"""

import dataclasses
import math

from ml_collections import ConfigDict

from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.sorting import SortingConfig
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory import matched_sizes
from infformer_jax.memory.compressive import CompressiveConfig
from infformer_jax.memory.continuous_config import PUBLISHED_SORTING
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig

LENGTH = {'cpu': 512, 'gpu': 4_000, 'paper': 8_000}

MODELS = {
  'cpu': ModelConfig(
    d_model=64,
    num_layers=3,
    num_heads=4,
    d_ff=256,
    positions='xl',
    tie_embeddings=False,
    scale_embeddings=True,
    segment_length=64,
    short_term_length=64,
  ),
  'gpu': ModelConfig(
    d_model=384,
    num_layers=4,
    num_heads=8,
    d_ff=1536,
    positions='rotary',
    scale_embeddings=True,
    segment_length=512,
    short_term_length=512,
    compute_dtype='bfloat16',
  ),
  'paper': ModelConfig(
    d_model=300,
    num_layers=3,
    num_heads=6,
    head_dim=50,
    d_ff=300,
    feed_forward='relu',
    norm_position='post',
    final_norm=False,
    positions='xl',
    scale_embeddings=True,
    segment_length=1024,
    short_term_length=1024,
    stop_short_term_gradient=True,
    dropout=0.1,
  ),
}
TRAIN = {
  'cpu': TrainConfig(
    num_steps=1_500,
    batch_size=16,
    log_every=25,
    evaluate_every=500,
    checkpoint_every=250,
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50),
  ),
  'gpu': TrainConfig(
    num_steps=20_000,
    batch_size=32,
    evaluate_every=1_000,
    checkpoint_every=1_000,
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=500),
  ),
  'paper': TrainConfig(
    num_steps=20_000,
    batch_size=8,
    segments_per_chunk=1,
    evaluate_every=1_000,
    checkpoint_every=1_000,
    optimizer=OptimizerConfig(learning_rate=2e-4, warmup_steps=0, weight_decay=0.0, b2=0.999),
  ),
}


def memory(kind: str, size: str, num_tokens: int) -> MemoryConfig:
  """A memory for documents of `num_tokens`; all kinds have the same bytes, but `paper` has its own."""
  model = MODELS[size]
  if size == 'paper' and kind == 'continuous':
    return dataclasses.replace(PUBLISHED_SORTING, gate=True)
  if size == 'paper' and kind == 'compressive':  # With one segment per chunk only its loss trains it.
    return CompressiveConfig(length=model.segment_length)
  return matched_sizes.of_size(
    kind,
    num_vectors=model.segment_length,
    num_layers=model.num_layers,
    bytes_per_value=2 if model.compute_dtype == 'bfloat16' else 4,
    horizon=float(num_tokens),
  )


def get_config(argument: str | None = None) -> ConfigDict:
  """The config of 'configs/sort.py:memory=...,length=...,size=...'; default: continuous, cpu."""
  asked = parse_argument(
    argument,
    memory=('continuous', matched_sizes.KINDS),
    length=(None, int),
    size=('cpu', tuple(MODELS)),
  )
  length = LENGTH[asked.size] if asked.length is None else asked.length
  model, train = MODELS[asked.size], TRAIN[asked.size]
  # In short sequences the counts must differ by more than chance.
  data = SortingConfig(length=length, weights='exponential' if asked.size == 'cpu' else 'integers')
  segments = math.ceil((length + 1 + data.num_symbols) / model.segment_length)
  if asked.size != 'paper':
    train = dataclasses.replace(train, segments_per_chunk=segments)
  return config_dict(
    Experiment(
      model=dataclasses.replace(
        model, memory=memory(asked.memory, asked.size, segments * model.segment_length)
      ),
      data=data,
      train=train,
      evaluation=EvaluationConfig(batch_size=32, segments_per_chunk=train.segments_per_chunk),
    )
  )
