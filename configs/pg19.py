"""The ∞-former on PG-19 (Rae et al. 2020), books of 69,000 words on average.

    python -m infformer_jax.main --config=configs/pg19.py --workdir=W
    python -m infformer_jax.main --config=configs/pg19.py:size=tiny --workdir=W --config.data.source_dir=DIR
    python -m infformer_jax.main --config=configs/pg19.py:memory=recent,size=small --workdir=W

The first reads what TensorFlow Datasets has prepared (~/tensorflow_datasets, or --config.data.data_dir=DIR),
the second a copy of the bucket gs://deepmind-gutenberg: train|validation|test/ID.txt and metadata.csv.

`memory` is one of the kinds in memory/matched_sizes.py, such as none, recent, compressive, neighbours,
continuous or continuous_log. The memories of one size hold the same number of bytes, except neighbours at
tiny, which holds a third more (whole segments in one layer of three). recent_4x, recent_8x and recent_16x are
exact windows of more tokens. The width of the feed-forward is adapted so that the models have the same number
of parameters; for a memory that joins a trained trunk (init_from), give both the same --config.model.d_ff.

    size    parameters  hardware                  estimate     validation perplexity per word
    tiny          2 M   2 CPU cores               30 minutes   981 after 400 steps on 16 books
    small        59 M   one GPU with 40 GB        a day        not yet measured
    base        235 M   8 x H100 or a TPU v4-32   two days     not yet measured
    large       957 M   a TPU v4-128              a week       not yet measured
"""

import dataclasses

from ml_collections import ConfigDict

from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.pg19 import Pg19Config
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory import matched_sizes
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig

LONG = ContinuousConfig(num_basis=512, sampling='sticky')

MODELS = {
  'tiny': ModelConfig(
    d_model=128,
    num_layers=3,
    num_heads=4,
    d_ff=512,
    feed_forward='swiglu',
    positions='rotary',
    scale_embeddings=True,
    segment_length=64,
    short_term_length=64,
    memory=ContinuousConfig(num_basis=64, num_samples=128, sampling='sticky'),
  ),
  'small': ModelConfig(
    d_model=512,
    num_layers=10,
    num_heads=8,
    d_ff=2048,
    scale_embeddings=True,
    segment_length=512,
    short_term_length=512,
    dropout=0.1,
    compute_dtype='bfloat16',
    memory=LONG,
  ),
  'base': ModelConfig(
    d_model=1024,
    num_layers=12,
    num_heads=16,
    d_ff=4096,
    scale_embeddings=True,
    segment_length=512,
    short_term_length=512,
    dropout=0.1,
    remat=True,
    compute_dtype='bfloat16',
    memory=LONG,
  ),
  'large': ModelConfig(
    d_model=1536,
    num_layers=24,
    num_heads=24,
    d_ff=6144,
    scale_embeddings=True,
    segment_length=512,
    short_term_length=512,
    dropout=0.1,
    remat=True,
    compute_dtype='bfloat16',
    memory=LONG,
  ),
}
TOKENIZERS = {'tiny': 'bpe:8192', 'small': 'bpe:32768', 'base': 'bpe:32768', 'large': 'bpe:32768'}
# Every chunk has 4 segments: lag + 1 = 3, so that gradients reach what was written, and one more.
TRAIN = {
  'tiny': TrainConfig(
    num_steps=1_500,
    batch_size=16,
    segments_per_chunk=4,
    # 24 steps of a lane. With only one or two books per lane the memory mostly learns to identify the book.
    max_document_tokens=6_144,
    log_every=20,
    evaluate_every=500,
    checkpoint_every=100,
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50, weight_decay=0.1),
  ),
  'small': TrainConfig(
    num_steps=100_000,
    batch_size=16,
    segments_per_chunk=4,
    log_every=50,
    evaluate_every=5_000,
    checkpoint_every=1_000,
    optimizer=OptimizerConfig(learning_rate=6e-4, warmup_steps=2_000),
  ),
  'base': TrainConfig(
    num_steps=100_000,
    batch_size=64,
    segments_per_chunk=4,
    log_every=50,
    evaluate_every=5_000,
    checkpoint_every=1_000,
    optimizer=OptimizerConfig(learning_rate=3e-4, warmup_steps=4_000),
  ),
  'large': TrainConfig(
    num_steps=150_000,
    batch_size=128,
    segments_per_chunk=4,
    log_every=50,
    evaluate_every=5_000,
    checkpoint_every=1_000,
    optimizer=OptimizerConfig(learning_rate=2e-4, warmup_steps=8_000),
  ),
}


def model(kind: str, size: str) -> ModelConfig:
  """The trunk of a size with a memory of this kind; bytes and parameters match the continuous one."""
  trunk = MODELS[size]
  continuous = trunk.memory
  assert isinstance(continuous, ContinuousConfig)
  if kind == 'continuous':
    return trunk
  bytes_per_value = 2 if trunk.compute_dtype == 'bfloat16' else 4
  memory = matched_sizes.of_size(
    kind,
    num_vectors=continuous.num_basis * 4 // bytes_per_value,  # Coefficients are float32.
    num_layers=trunk.num_layers,
    bytes_per_value=bytes_per_value,
  )
  # In each layer a continuous memory has 3 matrices of d x d, the convolution of the compressive one 4.
  missing = {'compressive': 3 - 4}.get(kind, 0 if kind.startswith('continuous') else 3)
  wider = round(missing * trunk.d_model / (3 if trunk.feed_forward == 'swiglu' else 2))
  return dataclasses.replace(trunk, memory=memory, d_ff=trunk.d_ff + wider)


def get_config(argument: str | None = None) -> ConfigDict:
  """The config of 'configs/pg19.py:memory=...,size=tiny|small|base|large'; default: continuous, base."""
  asked = parse_argument(argument, memory=('continuous', matched_sizes.KINDS), size=('base', tuple(MODELS)))
  size = asked.size
  return config_dict(
    Experiment(
      model=model(asked.memory, size),
      data=Pg19Config(tokenizer=TOKENIZERS[size]),
      train=TRAIN[size],
      evaluation=EvaluationConfig(batch_size=TRAIN[size].batch_size, segments_per_chunk=4),
    )
  )
