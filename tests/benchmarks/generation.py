"""Time per generated token with and without a long-term memory: greedy, one lane.

A token reads all weights once, which the host's cache does not hold: the floor is the time of the products of
one vector with each of them. Opening a segment, once in l tokens, is measured separately.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.evaluation.generation import Generator, Sampling
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import open_segment, transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.nn.open_segment import Open
from infformer_jax.train.mesh import make_mesh
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Array, PyTree
from tests.benchmarks.measure import FULL, QUICK, Effort, interleaved, note
from tests.benchmarks.table import Goal, Row, timed

WITHOUT, PRODUCTS = 'no memory', 'products with all weights'
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
  ours = _untrained(model, vocab_size)
  without = _untrained(dataclasses.replace(model, memory=NothingConfig()), vocab_size)
  contestants = {'ours': _tokens(ours), WITHOUT: _tokens(without), PRODUCTS: _products(without)}
  times = interleaved(contestants, effort)
  yield timed(what, times, WITHOUT, goal=goal, per=TOKENS)
  floor = {'ours': times[WITHOUT], PRODUCTS: times[PRODUCTS]}
  yield timed(f'{what}, without memory', floor, PRODUCTS, per=TOKENS)
  times = interleaved({'ours': _opening(ours), WITHOUT: _opening(without)}, effort)
  yield timed(f'opening a segment, {name}', times, WITHOUT)


def _untrained(model: ModelConfig, vocab_size: int) -> TrainedModel:
  graphdef, params = transformer.build(model, vocab_size, jax.random.key(0))
  return TrainedModel(graphdef=graphdef, params=params, mesh=make_mesh(), step=0)


def _tokens(trained: TrainedModel) -> Callable[[], Any]:
  """Generates the next tokens of one text at every call."""
  generator = Generator(trained, bos_id=0)
  opened = generator.read([np.zeros(0, int)])
  stream = generator.generate(*opened, MANY_TOKENS, Sampling(temperature=0), jax.random.key(0))
  next(stream)  # It is that of the prompt.
  return lambda: [next(stream) for _ in range(TOKENS)]


def _products(trained: TrainedModel) -> Callable[[], Any]:
  """As many times as tokens, the products of one vector with every matrix."""
  table_vd = trained.params['vocabulary']['embedding']['embedding']
  matrices = [leaf for leaf in jax.tree.leaves(trained.params['blocks']) if leaf.ndim == 2]

  @jax.jit
  def products(matrices: list[Array], table_vd: Array) -> Array:
    x = jnp.ones(())
    for w in (*matrices, table_vd.T):  # Each depends on the last, as in the model.
      x = (jnp.full((1, len(w)), x) @ w).max()
    return x

  return lambda: [jax.block_until_ready(products(matrices, table_vd)) for _ in range(TOKENS)]


def _opening(trained: TrainedModel) -> Callable[[], Any]:
  """Moves a full segment into the cache and opens the next one."""

  @jax.jit
  def first(params: PyTree, constants: PyTree) -> Open:
    model = trained.model(params, constants)
    opened = open_segment.open_segment(model, model.init_state(1), jnp.ones(1, bool))
    full = dataclasses.replace(opened.tokens, count_b=jnp.full(1, model.config.segment_length))
    return dataclasses.replace(opened, tokens=full)

  @jax.jit
  def renew(params: PyTree, constants: PyTree, opened: Open) -> Open:
    return open_segment.renew(trained.model(params, constants), opened)

  variables = trained.params, trained.constants
  return functools.partial(renew, *variables, first(*variables))
