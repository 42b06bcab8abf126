"""A model of the Llama family with a memory, fine-tuned on books.

    python -m infformer_jax.main --config=configs/llama_books.py --workdir=W --config.data.source_dir=BOOKS
    python -m infformer_jax.main --config=configs/llama_books.py:checkpoint=DIR --workdir=W \\
      --config.data.source_dir=BOOKS
    python -m infformer_jax.main --config=configs/llama_books.py:memory=none,size=llama32_1b --workdir=W2 \\
      --config.data.source_dir=BOOKS

The first downloads SmolLM2-135M, the second takes a checkpoint directory, of any model of the family, whose
config.json determines the trunk; the third is a control without a memory. BOOKS is a copy of
gs://deepmind-gutenberg, or, with --config.data.kind=text, any folder of texts.

`memory` is one of the kinds in memory/matched_sizes.py, such as none, recent_4x, compressive, neighbours,
continuous (the default) or continuous_log. The continuous ones start as the unchanged model. The memory and
the norms are trained and the rest is frozen; --config.train.optimizer.trained=all trains everything.

    size           parameters  of the memory   hardware      validation perplexity per word
    smollm2_135m   164 M       30 M            one GPU       not run here
    smollm2_360m   450 M       88 M            one GPU       not run here
    qwen2_05b      552 M       58 M            one GPU       not run here
    llama32_1b     1437 M      201 M           one GPU       not run here
    tiny           1.3 M       .15 M           2 CPU cores   no pretraining, to try the commands in minutes

The ∞-former's paper has no such models.
"""

import dataclasses

from ml_collections import ConfigDict

from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.pg19 import Pg19Config
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory import matched_sizes
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained import published
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig

TINY = {
  'model_type': 'llama',
  'hidden_size': 128,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'intermediate_size': 384,
  'tie_word_embeddings': True,
}
CONFIGS = {name: model.config for name, model in published.MODELS.items() if name != 'gpt2'} | {'tiny': TINY}
# A chunk has lag + 1 = 3 segments, so that gradients reach what was written, and one more.
TRAIN = TrainConfig(
  num_steps=10_000,
  batch_size=8,
  segments_per_chunk=4,
  log_every=50,
  evaluate_every=1_000,
  checkpoint_every=500,
  optimizer=OptimizerConfig(
    trained='memory_and_norms',
    learning_rate=1e-4,
    memory_learning_rate=5e-4,
    warmup_steps=200,
    weight_decay=0.01,
  ),
)
TRAIN_TINY = TrainConfig(
  num_steps=1_500,
  batch_size=16,
  segments_per_chunk=4,
  max_document_tokens=6_144,  # A lane reads many documents.
  evaluate_every=500,
  checkpoint_every=500,
  optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50),
)


def model(kind: str, size: str, checkpoint: str | None) -> ModelConfig:
  """The trunk of a size, or of a checkpoint, with a memory of this kind."""
  length, tiny = (64, True) if size == 'tiny' else (512, False)
  trunk = published.model_config(
    CONFIGS[size],
    checkpoint,
    segment_length=length,
    short_term_length=length,
    memory=NothingConfig(),
    remat=not tiny,
    compute_dtype='float32' if tiny else 'bfloat16',
  )
  return dataclasses.replace(trunk, memory=memory(kind, trunk))


def memory(kind: str, trunk: ModelConfig) -> MemoryConfig:
  """All kinds but the longer exact windows have the bytes of one segment in every layer."""
  chosen = matched_sizes.of_size(
    kind,
    num_vectors=trunk.segment_length,
    num_layers=trunk.num_layers,
    bytes_per_value=2 if trunk.compute_dtype == 'bfloat16' else 4,
  )
  return (
    dataclasses.replace(chosen, initial_output='zero') if isinstance(chosen, ContinuousConfig) else chosen
  )


def get_config(argument: str | None = None) -> ConfigDict:
  """The config of 'configs/llama_books.py:memory=...,size=...,checkpoint=DIR'."""
  asked = parse_argument(
    argument,
    memory=('continuous', matched_sizes.KINDS),
    size=('smollm2_135m', tuple(CONFIGS)),
    checkpoint=(None, str),
  )
  tiny = asked.size == 'tiny'
  place = asked.checkpoint or (None if tiny else published.MODELS[asked.size].place)
  return config_dict(
    Experiment(
      init_from=place,
      model=model(asked.memory, asked.size, asked.checkpoint),
      data=Pg19Config(tokenizer=f'pretrained:{place}' if place else 'bpe:4096'),
      train=TRAIN_TINY if tiny else TRAIN,
      evaluation=EvaluationConfig(batch_size=8, segments_per_chunk=4),
    )
  )
