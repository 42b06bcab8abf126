"""The benchmarks: one table in Markdown on stdout, progress on stderr.

    python -m tests.benchmarks.run                                 all: 15 minutes on 2 CPU cores, 11 on one
    python -m tests.benchmarks.run --only ltm_layer,chunk          some subjects
    python -m tests.benchmarks.run --json FILE                     the figures as JSON, too
    python -m tests.benchmarks.run --quick                         tiny sizes: only whether it runs

Each subject is a module with a function `rows(quick)`. The contestants of a row run in turn, in one process.
Figures are medians, followed by the quartiles. Contestants that are not installed are named as such
(pip install -e '.[bench]' installs them). A goal that is missed is no failure: the table says so.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import pathlib
import platform
import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import jax

from tests.benchmarks import (
  against_attention,
  chunk,
  first_token,
  generation,
  learned_positions,
  local_attention,
  ltm_layer,
  neighbours,
  parts,
  saving,
  start,
  training_step,
)
from tests.benchmarks.measure import check_writable, note, num_threads, tune_process
from tests.benchmarks.table import HEADER, Row

MODULES = (
  ltm_layer,
  chunk,
  local_attention,
  training_step,
  parts,
  generation,
  against_attention,
  neighbours,
  saving,
  start,
  learned_positions,
  first_token,
)
SUBJECTS: dict[str, ModuleType] = {module.__name__.rpartition('.')[2]: module for module in MODULES}


def environment() -> dict[str, Any]:
  """The machine, the versions and the date."""

  def version(package: str) -> str | None:
    try:
      return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      return None

  return {
    'cpu': _cpu(),
    'cores': num_threads(),
    'python': platform.python_version(),
    **{package: version(package) for package in ('jax', 'torch', 'faiss-cpu')},
    'date': datetime.date.today().isoformat(),
  }


def _cpu() -> str:
  info = pathlib.Path('/proc/cpuinfo')
  names = (
    [line for line in info.read_text().splitlines() if line.startswith('model name')] if info.exists() else []
  )
  return names[0].partition(':')[2].strip() if names else platform.processor() or platform.machine()


def selected(only: str | None) -> list[str]:
  """The names of the subjects that were asked for.

  Raises:
    SystemExit: a name is none of `SUBJECTS`.
  """
  names = list(SUBJECTS) if only is None else only.split(',')
  if unknown := [name for name in names if name not in SUBJECTS]:
    raise SystemExit(f'--only: there is no {", ".join(map(repr, unknown))}; use some of {",".join(SUBJECTS)}')
  return names


def measured(names: Sequence[str], *, quick: bool) -> Iterator[tuple[str, Row]]:
  """The rows of some subjects as they are measured, with the names of the subjects."""
  for i, name in enumerate(names, 1):
    start = time.perf_counter()
    note(f'== {name} ({i} of {len(names)})')
    for row in SUBJECTS[name].rows(quick):
      yield name, row
    note(f'== {name}: {time.perf_counter() - start:.0f} s')


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description='Benchmarks of infformer_jax.')
  parser.add_argument('--only', help=f'subjects separated by commas: {", ".join(SUBJECTS)}')
  parser.add_argument('--quick', action='store_true', help='tiny sizes, one round')
  parser.add_argument('--json', type=pathlib.Path, help='a file for the figures')
  asked = parser.parse_args(arguments)
  names = selected(asked.only)
  check_writable(asked.json)
  tune_process()
  if asked.quick:
    jax.config.update('jax_disable_most_optimizations', True)  # Compiling takes most of the time.
  header = environment()
  print(', '.join(f'{key} {value or "not installed"}' for key, value in header.items()))
  print(f'\n{HEADER}', flush=True)
  rows = []
  for name, row in measured(names, quick=asked.quick):
    if asked.quick:  # The goals are about the full sizes.
      row = dataclasses.replace(row, goal=None)
    print(row.markdown(), flush=True)
    rows.append({'subject': name, **row.json()})
    if asked.json:  # After every row: an interrupted run keeps its figures.
      asked.json.write_text(json.dumps({**header, 'rows': rows}, indent=1) + '\n')


if __name__ == '__main__':
  main()
