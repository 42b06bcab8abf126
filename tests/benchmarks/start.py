"""The start of a program: the import in a fresh process, and the compilation of training steps.

The models are tiny (d 64, l 32, sticky memory), because the time of a compilation depends on the number of
operations, not on their sizes. The cache of compiled programs is not used.
"""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator

import jax

from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.nn.model_config import ModelConfig
from tests.benchmarks.measure import note
from tests.benchmarks.table import Goal, Row, Spread, exact
from tests.benchmarks.training_step import lowered

MODEL = ModelConfig(
  d_model=64, num_heads=4, d_ff=128, segment_length=32, short_term_length=32,
  memory=ContinuousConfig(num_basis=32, sampling='sticky'),
)  # fmt: skip
DEPTHS, FIRST_DEPTH = (3, 12, 24), 3
IMPORT_GOAL, DEEP_GOAL = Goal(at_most=100, of='ours'), Goal(at_most=2)
TIMED_IMPORT = (
  'import time; start = time.perf_counter(); import infformer_jax; print(time.perf_counter() - start)'
)


def rows(quick: bool) -> Iterator[Row]:
  """The time of the import, and of the lowering and compilation for each depth."""
  note('import')
  seconds = [_import_seconds() for _ in range(1 if quick else 5)]
  yield Row(
    what='import infformer_jax', unit='ms', ours=Spread.of([1000 * s for s in seconds]), goal=IMPORT_GOAL
  )
  compile_seconds = {}
  for depth in () if quick else DEPTHS:
    note(f'compilation of {depth} layers')
    compile_seconds[depth] = _compile_seconds(depth)
    others = [compile_seconds[FIRST_DEPTH], f'{FIRST_DEPTH} layers'] if depth > FIRST_DEPTH else []
    goal = DEEP_GOAL if depth == DEPTHS[-1] else None
    yield exact(
      f'compilation of a training step, {depth} layers', 's', compile_seconds[depth], *others, goal=goal
    )


def _import_seconds() -> float:
  command = [sys.executable, '-c', TIMED_IMPORT]
  return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _compile_seconds(depth: int) -> float:
  """Of the trace, the lowering and the compilation."""
  enabled = jax.config.jax_enable_compilation_cache
  jax.config.update('jax_enable_compilation_cache', False)
  try:
    start = time.perf_counter()
    lowered(dataclasses.replace(MODEL, num_layers=depth), lanes=1).compile()
    return time.perf_counter() - start
  finally:
    jax.config.update('jax_enable_compilation_cache', enabled)
