"""A small ∞-former on the source code of Python's own standard library: nothing to download.

    bash launch/quickstart.sh

or, in an environment that has the package,

    python -m infformer_jax.main --config=configs/quickstart.py:memory=none --workdir=TRUNK
    python -m infformer_jax.main --config=configs/quickstart.py --workdir=W --config.init_from=TRUNK \\
      --config.train.num_steps=400 --config.train.optimizer.learning_rate=1e-3

A token sees 16 to 32 tokens of the past through the short-term window. The first command trains such a
model (3 minutes on 2 CPU cores); the second lets a memory join it (1 minute), for a validation loss of 2.31
nats per token; without a memory it is 2.32 (Python 3.11.7; other versions have other libraries). docs/text.md
has the differences over several seeds.

`memory` is one of the kinds in memory/matched_sizes.py, such as none, recent, recent_8x, compressive,
neighbours, continuous (the default) or continuous_log. All but the exact windows of more tokens hold the same
number of bytes.
"""

import dataclasses

from ml_collections import ConfigDict

from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.stdlib import StdlibConfig
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory import matched_sizes
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig

TRUNK = ModelConfig(
  d_model=64,
  num_layers=2,
  num_heads=4,
  d_ff=256,
  feed_forward='swiglu',
  positions='xl',  # Learns sooner than 'rotary' and 't5' which tokens are near.
  scale_embeddings=True,
  segment_length=16,
  short_term_length=16,
)


def get_config(argument: str | None = None) -> ConfigDict:
  """The config of 'configs/quickstart.py:memory=...'."""
  asked = parse_argument(argument, memory=('continuous', matched_sizes.KINDS))
  memory = matched_sizes.of_size(
    asked.memory, num_vectors=64, num_layers=TRUNK.num_layers, bytes_per_value=4, horizon=16_384.0
  )
  return config_dict(
    Experiment(
      model=dataclasses.replace(TRUNK, memory=memory),
      data=StdlibConfig(tokenizer='bpe:512'),
      train=TrainConfig(
        num_steps=1600,
        batch_size=16,
        segments_per_chunk=16,
        log_every=10,
        evaluate_every=400,
        checkpoint_every=200,
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=32, weight_decay=0.1),
      ),
      evaluation=EvaluationConfig(batch_size=8, segments_per_chunk=32),
    )
  )
