"""Time per generated token with and without a long-term memory: greedy, one lane."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from infformer_jax.evaluation.generation import Generator, Sampling
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train import sharding
from infformer_jax.trained_model import TrainedModel
from tests.benchmarks.measure import FULL, QUICK, Effort, interleaved, note
from tests.benchmarks.table import Goal, Row, timed

WITHOUT = 'no memory'
TOKENS = 16  # of a contestant in a round
MANY_TOKENS = 100_000  # more than are generated
GOAL = Goal(at_most=1.1)
# Three layers of the width of GPT-2 small.
WIDE = ModelConfig(
  d_model=768,
  num_layers=3,
  num_heads=12,
  d_ff=3072,
  segment_length=512,
  short_term_length=512,
  memory=ContinuousConfig(num_basis=512, sampling='sticky'),
)
# A model whose time is the host's more than the device's.
TINY = ModelConfig(
  d_model=128,
  num_layers=3,
  num_heads=4,
  d_ff=512,
  positions='rotary',
  segment_length=64,
  short_term_length=64,
  memory=ContinuousConfig(num_basis=64, num_samples=128, sampling='sticky'),
)


def rows(quick: bool) -> Iterator[Row]:
  """A sticky memory against the same trunk without it."""
  if quick:
    yield from _of('one small layer', dataclasses.replace(TINY, num_layers=1), 100, QUICK)
    return
  for positions in ('xl', 'rotary'):
    wide = dataclasses.replace(WIDE, positions=positions)
    yield from _of(f'3 layers, d 768, l 512, M 512, {positions}', wide, 32_000, FULL, goal=GOAL)
  yield from _of('3 layers, d 128, l 64, M 64, rotary', TINY, 1_000, FULL)


def _of(
  name: str, model: ModelConfig, vocab_size: int, effort: Effort, *, goal: Goal | None = None
) -> Iterator[Row]:
  what = f'generated token, {name}'
  note(what)
  without = dataclasses.replace(model, memory=NothingConfig())
  contestants = {'ours': _tokens(model, vocab_size), WITHOUT: _tokens(without, vocab_size)}
  yield timed(what, interleaved(contestants, effort), WITHOUT, goal=goal, per=TOKENS)


def _tokens(model: ModelConfig, vocab_size: int) -> Callable[[], Any]:
  """Generates the next tokens of one text at every call."""
  graphdef, params = transformer.build(model, vocab_size, jax.random.key(0))
  trained = TrainedModel(graphdef=graphdef, params=params, mesh=sharding.make_mesh(), step=0)
  generator = Generator(trained, bos_id=0)
  opened = generator.read([np.zeros(0, int)])
  stream = generator.generate(*opened, MANY_TOKENS, Sampling(temperature=0), jax.random.key(0))
  return lambda: [next(stream) for _ in range(TOKENS)]
