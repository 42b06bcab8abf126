"""The recurrence of a chunk, forward and backward: `Continuous.scan` against a scan of whole steps.

The contestant `steps` is the scan of the contract, one `step` per segment, with the library's own write and
read. `plain steps` is the same with the formulas as they are written (plain_memory.py): both writes are
computed for every row, and the weights r of every query are stored for the backward pass.
"""

import functools
from collections.abc import Iterator

from infformer_jax.memory.base import Memory
from infformer_jax.memory.continuous import Continuous
from tests.benchmarks.ltm_case import Case, Inputs
from tests.benchmarks.measure import (
  FULL,
  QUICK,
  Effort,
  check_equal,
  compiled,
  interleaved,
  note,
  temporary_mib,
)
from tests.benchmarks.plain_memory import PlainContinuous
from tests.benchmarks.table import Goal, Row, exact, timed

STEPS, PLAIN = 'steps', 'plain steps'
SEGMENTS = 4  # s
GOAL = Goal(at_most=0.5)


def rows(quick: bool) -> Iterator[Row]:
  """Times and temporary memory of a chunk of many small lanes, and of one of a single wide lane."""
  if quick:
    yield from _of(Case(batch=2, num_basis=16, sampling='sticky', num_heads=2, head_dim=8, length=32), QUICK)
    return
  for sampling in ('even', 'sticky'):
    narrow = Case(batch=16, num_basis=64, sampling=sampling, num_heads=4, head_dim=32, length=64)
    yield from _of(narrow, FULL, goal=GOAL)
    yield from _of(Case(batch=1, num_basis=512, sampling=sampling), FULL)


def _of(case: Case, effort: Effort, *, goal: Goal | None = None) -> Iterator[Row]:
  what = f'chunk, s {SEGMENTS}, l {case.length}, d {case.d_model}, {case}'
  note(what)
  inputs = Inputs(case, SEGMENTS)
  programs = {
    'ours': compiled(inputs.gradients(Continuous.scan), *inputs.arguments),
    STEPS: compiled(inputs.gradients(Memory.scan), *inputs.arguments),
    PLAIN: compiled(inputs.gradients(PlainContinuous.scan, PlainContinuous), *inputs.arguments),
  }
  check_equal(programs, *inputs.arguments)
  times = interleaved(
    {name: functools.partial(run, *inputs.arguments) for name, run in programs.items()}, effort
  )
  yield timed(f'{what}, forward and backward', times, STEPS)
  yield timed(f'{what}, forward and backward', times, PLAIN, goal=goal)
  ours, plain = temporary_mib(programs['ours']), temporary_mib(programs[PLAIN])
  yield exact(f'{what}, temporary memory', 'MiB', ours, plain, PLAIN)
