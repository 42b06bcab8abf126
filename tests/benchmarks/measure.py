"""Times of several contestants, measured in turn, and the temporary memory of a program.

A load of the machine, or its clock, changes during minutes. Contestants that run one after another in every
round are slowed down alike, so that the ratio of two runs of one round is steadier than either time.
"""

import dataclasses
import importlib.util
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from infformer_jax import allocator

PAUSE_S = 0.005
"""Between two runs, in which the threads of the last contestant stop waiting for work."""

Times = Mapping[str, list[float]]
"""Seconds of every contestant, one value per round."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
  """How long contestants are measured: at least `rounds` rounds, and more until `seconds` have passed."""

  rounds: int
  seconds: float


FULL = Effort(rounds=5, seconds=4)
QUICK = Effort(rounds=1, seconds=0)


def interleaved(contestants: Mapping[str, Callable[[], Any]], effort: Effort) -> Times:
  """Runs every contestant once without measuring it, then all of them in every round.

  Args:
    contestants: each computes once and returns its results, on which we wait; the order is reversed in every
      second round.
    effort: how many rounds.
  """
  for run in contestants.values():
    jax.block_until_ready(run())
  times: dict[str, list[float]] = {name: [] for name in contestants}
  start, rounds = time.perf_counter(), 0
  while rounds < effort.rounds or time.perf_counter() - start < effort.seconds:
    for name in list(contestants)[:: -1 if rounds % 2 else 1]:
      time.sleep(PAUSE_S)
      before = time.perf_counter()
      jax.block_until_ready(contestants[name]())
      times[name].append(time.perf_counter() - before)
    rounds += 1
  return times


def check_equal(programs: Mapping[str, jax.stages.Compiled], *arguments: Any) -> None:
  """Raises AssertionError where programs compute different losses, so that their times could not be compared.

  Args:
    programs: of the contestants, (loss, gradients).
    arguments: of all of them.
  """
  losses = {name: float(program(*arguments)[0]) for name, program in programs.items()}
  assert max(losses.values()) - min(losses.values()) < 1e-3 * abs(losses['ours']), losses


def compiled(function: Callable[..., Any], *arguments: Any, **options: Any) -> jax.stages.Compiled:
  """The program of a function for these arguments; `options` are jax.jit's."""
  return jax.jit(function, **options).lower(*arguments).compile()


def temporary_mib(program: jax.stages.Compiled) -> float:
  """What the program allocates besides its arguments and results, as the compiler reports it."""
  return program.memory_analysis().temp_size_in_bytes / 2**20


def installed(package: str) -> bool:
  """Whether an optional contestant can be imported."""
  return importlib.util.find_spec(package) is not None


def num_threads() -> int:
  """The cores that this process may use, for contestants that must be told."""
  return len(os.sched_getaffinity(0))


def tune_process() -> None:
  """The settings of the C libraries that are best for all contestants; call it before they are imported.

  glibc keeps freed memory (infformer_jax/allocator.py); eager PyTorch allocates every intermediate result.
  OpenMP's threads (PyTorch, faiss) sleep while they wait: if they spin, other work on the cores slows them
  down several times.
  """
  os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
  allocator.keep_freed_memory()


def note(text: str) -> None:
  """A line of progress."""
  print(text, file=sys.stderr, flush=True)


def check_writable(file: pathlib.Path | None) -> None:
  """Exits with one line if the file of --json cannot be written."""
  try:
    if file is not None:
      file.open('a').close()
  except OSError as error:
    raise SystemExit(f'--json={file}: {error.strerror}; use a file that can be written') from None
