"""Recall at controlled distances, with any of the memories: accuracy against distance.

    python -m infformer_jax.main --config=configs/recall.py --workdir=W
    python -m infformer_jax.main --config=configs/recall.py:memory=neighbours,task=passkey --workdir=W

`task` is associative (pairs of keys and values in noise) or passkey (digits in a repetitive text); `memory`
is one of the kinds in memory/matched_sizes.py, such as none, recent, compressive, neighbours, continuous or
continuous_log. The memories of one size hold the same number of bytes, except neighbours at cpu, which holds
a third more (whole segments in one layer of three); recent_4x, recent_8x and recent_16x are exact windows of
more tokens. results.json has the accuracies by distance under by_group. A passkey is asked for once, at the
end: where a chunk is shorter than the document, most steps have no targets.

Copying a passkey from the segment before is cheap to learn in short documents, and finding it in medium ones.
All memories can start from the first, and continue with longer documents:

    python -m infformer_jax.main --config=configs/recall.py:memory=none,task=passkey --workdir=NEAR \\
      --config.data.distances=1 --config.data.num_segments=2 --config.train.segments_per_chunk=2 \\
      --config.train.batch_size=128 --config.train.num_steps=300
    python -m infformer_jax.main --config=configs/recall.py:task=passkey --workdir=MIDDLE \\
      --config.init_from=NEAR --config.data.num_segments=17 --config.train.segments_per_chunk=17 \\
      --config.data.distances=1,2,4,8,16 --config.train.batch_size=32 --config.train.num_steps=400 \\
      --config.train.optimizer.learning_rate=2e-3
    python -m infformer_jax.main --config=configs/recall.py:task=passkey --workdir=W \\
      --config.init_from=MIDDLE --config.train.num_steps=400 --config.train.optimizer.learning_rate=2e-3

    size    parameters  document                     hardware      time
    cpu     0.20 M      17 segments of 64 tokens     one CPU core  9 minutes
            passkey:    65 segments of 8 tokens      one CPU core  12 minutes
    gpu     16 M        96 segments of 512 tokens    one GPU       not yet measured

The paper has no such task, so there is no size=paper. docs/results.md has the expected accuracies; guessing
is right in one case of 16 (associative) or 10 (passkey).
"""

import dataclasses
from typing import Literal

from ml_collections import ConfigDict

from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.recall import RecallConfig
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory import matched_sizes
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig

TASKS: tuple[Literal['associative', 'passkey'], ...] = ('associative', 'passkey')

MODELS = {
  'cpu': ModelConfig(
    d_model=64,
    num_layers=3,
    num_heads=4,
    d_ff=256,
    positions='xl',
    tie_embeddings=False,
    scale_embeddings=True,
  ),
  'gpu': ModelConfig(
    d_model=512,
    num_layers=4,
    num_heads=8,
    d_ff=2048,
    positions='rotary',
    scale_embeddings=True,
    compute_dtype='bfloat16',
  ),
}
DATA: dict[str, dict[str, RecallConfig]] = {
  'cpu': {
    'associative': RecallConfig(segment_length=64, num_segments=17, distances=(1, 2, 4, 8, 16)),
    # A passkey fits into fewer tokens than the pairs, so that a document has more segments.
    'passkey': RecallConfig(
      task='passkey', segment_length=8, num_segments=65, distances=(1, 2, 4, 8, 16, 32, 64)
    ),
  },
  'gpu': {
    task: RecallConfig(
      task=task, segment_length=512, num_segments=96, distances=(1, 2, 4, 8, 16, 32, 64), pairs_per_distance=8
    )
    for task in TASKS
  },
}
# At cpu a chunk is a document. At gpu the lag is 2, so gradients reach 6 segments back.
TRAIN = {
  'cpu': TrainConfig(
    num_steps=2_000,
    batch_size=8,
    log_every=25,
    evaluate_every=500,
    checkpoint_every=250,
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50),
  ),
  'gpu': TrainConfig(
    num_steps=20_000,
    batch_size=32,
    segments_per_chunk=8,
    evaluate_every=1_000,
    checkpoint_every=1_000,
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=500),
  ),
}


def memory(kind: str, size: str, data: RecallConfig) -> MemoryConfig:
  """A memory of this kind; all kinds hold the same bytes, to the nearest whole segment."""
  model = MODELS[size]
  return matched_sizes.of_size(
    kind,
    num_vectors={'cpu': 64, 'gpu': 512}[size],
    num_layers=model.num_layers,
    bytes_per_value=2 if model.compute_dtype == 'bfloat16' else 4,
    horizon=float(data.num_segments * data.segment_length),
  )


def get_config(argument: str | None = None) -> ConfigDict:
  """The config of 'configs/recall.py:memory=...,task=...,size=cpu|gpu'."""
  asked = parse_argument(
    argument,
    memory=('continuous', matched_sizes.KINDS),
    task=('associative', TASKS),
    size=('cpu', tuple(MODELS)),
  )
  data, train = DATA[asked.size][asked.task], TRAIN[asked.size]
  if asked.size == 'cpu':
    train = dataclasses.replace(train, segments_per_chunk=data.num_segments)
  model = dataclasses.replace(
    MODELS[asked.size],
    segment_length=data.segment_length,
    short_term_length=data.segment_length,
    memory=memory(asked.memory, asked.size, data),
  )
  return config_dict(
    Experiment(
      model=model,
      data=data,
      train=train,
      evaluation=EvaluationConfig(batch_size=32, segments_per_chunk=train.segments_per_chunk),
    )
  )
