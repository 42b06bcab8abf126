"""A training step with a sticky long-term memory against the same trunk without it.

The wide model has 3 layers of width 768, the small one is `size=tiny` of configs/pg19.py. StableHLO is the
text of the program before it is compiled.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from configs import pg19
from infformer_jax.evaluation.cost import random_batch
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.optimizer import OptimizerConfig, make_optimizer
from infformer_jax.train.state import initial_state
from infformer_jax.train.step import make_train_step
from tests.benchmarks.generation import WIDE
from tests.benchmarks.measure import FULL, QUICK, Effort, interleaved, note, temporary_mib
from tests.benchmarks.table import Goal, Row, exact, timed

WITHOUT = 'no memory'
VOCABULARY, SEGMENTS, NUM_STEPS = 8192, 4, 100
OPTIMIZER = make_optimizer(OptimizerConfig(), NUM_STEPS)
NARROW = dataclasses.replace(
  WIDE, num_layers=1, d_model=16, num_heads=2, d_ff=32, segment_length=32, short_term_length=32,
  memory=ContinuousConfig(num_basis=16, sampling='sticky'),
)  # fmt: skip


def rows(quick: bool) -> Iterator[Row]:
  """Time, temporary memory and size of the program of the wide model; time per token of the small one."""
  if quick:
    yield from _of('a tiny layer', NARROW, lanes=1, effort=QUICK)
    return
  time_goal, memory_goal = Goal(at_most=1.25), Goal(at_most=1100, of='ours')
  what = '3 layers, d 768, l 512, M 512, s 4, xl, batch 1'
  yield from _of(what, WIDE, lanes=1, effort=FULL, time_goal=time_goal, memory_goal=memory_goal)
  lanes = pg19.TRAIN['tiny'].batch_size
  yield from _of('pg19 tiny', pg19.MODELS['tiny'], lanes=lanes, effort=FULL, time_goal=Goal(at_most=1.15))


def _of(
  name: str,
  model: ModelConfig,
  *,
  lanes: int,
  effort: Effort,
  time_goal: Goal | None = None,
  memory_goal: Goal | None = None,
) -> Iterator[Row]:
  what = f'training step, {name}'
  note(what)
  with_memory = Step(model, lanes)
  without = Step(dataclasses.replace(model, memory=NothingConfig()), lanes)
  times = interleaved({'ours': with_memory.run, WITHOUT: without.run}, effort)
  per = lanes * SEGMENTS * model.segment_length / 1000
  yield timed(f'{what}, per 1000 tokens', times, WITHOUT, goal=time_goal, per=per)
  sizes = [temporary_mib(step.program) for step in (with_memory, without)]
  yield exact(f'{what}, temporary memory', 'MiB', *sizes, WITHOUT, goal=memory_goal)
  sizes = [step.stablehlo_bytes / 1e6 for step in (with_memory, without)]
  yield exact(f'{what}, StableHLO', 'MB', *sizes, WITHOUT)


class Step:
  """A compiled training step and its inputs: random tokens that continue the documents of all lanes."""

  def __init__(self, model: ModelConfig, lanes: int):
    start = functools.partial(
      initial_state, model, OPTIMIZER, vocab_size=VOCABULARY, batch_size=lanes, seed=0
    )
    self.state = jax.jit(lambda: start()[1])()
    constants = transformer.merge(jax.eval_shape(start)[0], self.state.params).constants()
    self.rest = jax.tree.map(jnp.asarray, (random_batch(model, VOCABULARY, lanes, SEGMENTS), constants))
    program = lowered(model, lanes)
    self.stablehlo_bytes = len(program.as_text().encode())
    self.program = program.compile()

  def run(self) -> Any:
    """One step; the state is donated."""
    self.state, report = self.program(self.state, *self.rest)
    return self.state, report


def lowered(model: ModelConfig, lanes: int) -> jax.stages.Lowered:
  """The training step, traced from the shapes of its arguments: its StableHLO."""
  graphdef, state = jax.eval_shape(
    functools.partial(initial_state, model, OPTIMIZER, vocab_size=VOCABULARY, batch_size=lanes, seed=0)
  )
  constants = transformer.merge(graphdef, state.params).constants()
  step = make_train_step(graphdef, OptimizerConfig(), NUM_STEPS)
  return step.lower(state, random_batch(model, VOCABULARY, lanes, SEGMENTS), constants)
