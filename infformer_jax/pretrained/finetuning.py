"""The published fine-tuning of GPT-2 with a memory, which the configs of its two corpora share.

Source: Martins et al. 2022, section 4.3; published code: finetune_gpt2/.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from infformer_jax.memory import matched_sizes
from infformer_jax.memory.continuous_config import PUBLISHED_GPT2, ContinuousConfig
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained import published
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig

KINDS = (
  'published',
  'published_even',
  'continuous',
  'continuous_even',
  'continuous_log',
  'neighbours',
  'none',
)
"""The memories that a GPT-2 can get: tokens in its softmax would need a position, which its table has not."""


class Size(NamedTuple):
  """A model, and the lengths of its segments and of its memory."""

  config: Mapping[str, Any]  # keys of a config.json
  length: int  # l = n, and the samples of a write
  widths: tuple[float, ...]  # of the published memory, for this n


SIZES = {
  'small': Size(published.MODELS['gpt2'].config, 512, PUBLISHED_GPT2.widths),
  'tiny': Size(
    {'model_type': 'gpt2', 'n_embd': 128, 'n_layer': 3, 'n_head': 4, 'n_positions': 128}, 64, (0.04, 0.08)
  ),
}

OPTIMIZER = OptimizerConfig(
  learning_rate=5e-5,
  memory_learning_rate=2.5e-4,
  warmup_steps=0,
  decay='linear',
  final_learning_rate_fraction=0.0,
  weight_decay=0.0,
  clip_norm=1.0,
  b2=0.999,
)


def place(size: str, checkpoint: str | None) -> str | None:
  """Where the parameters and the tokenizer are; None: a tiny model has no pretrained ones."""
  return checkpoint or (published.MODELS['gpt2'].place if size == 'small' else None)


def train(size: str, num_steps: int) -> TrainConfig:
  """One lane of one segment, which detaches what is written. A tiny model learns from scratch."""
  if size == 'small':
    return TrainConfig(
      num_steps=num_steps,
      batch_size=1,
      segments_per_chunk=1,
      log_every=100,
      evaluate_every=20_000,
      checkpoint_every=5_000,
      optimizer=OPTIMIZER,
    )
  return TrainConfig(
    num_steps=num_steps,
    batch_size=16,
    segments_per_chunk=1,
    max_document_tokens=2_560,  # A lane reads many documents.
    evaluate_every=500,
    checkpoint_every=500,
    optimizer=dataclasses.replace(OPTIMIZER, learning_rate=1e-3, memory_learning_rate=5e-3),
  )


def model(kind: str, size: str, checkpoint: str | None) -> ModelConfig:
  """A GPT-2 with a memory; without one, its window is as long as two segments.

  Args:
    kind: one of KINDS.
    size: one of SIZES.
    checkpoint: a directory whose config.json counts instead of that of the size.
  """
  trunk = published.model_config(
    SIZES[size].config,
    checkpoint,
    segment_length=SIZES[size].length,
    short_term_length=SIZES[size].length if kind == 'none' else 0,
    memory=NothingConfig(),
    dropout=0.1,
    feed_forward_dropout=0.0,
    attention_dropout=0.1,
  )
  return dataclasses.replace(trunk, memory=_memory(kind, SIZES[size], trunk.num_layers))


def _memory(kind: str, size: Size, num_layers: int) -> MemoryConfig:
  if kind.startswith('published'):
    return dataclasses.replace(
      PUBLISHED_GPT2,
      num_basis=size.length,
      num_samples=size.length,
      widths=size.widths,
      sampling='even' if kind == 'published_even' else PUBLISHED_GPT2.sampling,
      kl_weight=PUBLISHED_GPT2.kl_weight * num_layers,  # Of the mean over layers here, of their sum there.
    )
  memory = matched_sizes.of_size(kind, num_vectors=size.length, num_layers=num_layers, bytes_per_value=4)
  if isinstance(memory, ContinuousConfig):
    return dataclasses.replace(memory, initial_output='zero')
  return memory
