"""Selects the checker of a file by its contents, and converts the report to text and an exit status."""

import json
import zipfile
from collections.abc import Mapping
from types import ModuleType

import numpy as np

from tests.golden import compressive, continuous, lta, memorizing, transformer_xl
from tests.golden.report import NotCovered, Report

CHECKERS: tuple[ModuleType, ...] = (compressive, continuous, lta, memorizing, transformer_xl)
"""Each has `matches(arrays)` and `check(report)`; the first that matches is used."""


def check(arrays: Mapping[str, np.ndarray]) -> Report:
  """The report on the arrays of one file, which accounts for every array."""
  report = Report(arrays)
  checker = next((module for module in CHECKERS if module.matches(arrays)), None)
  if checker is None:
    report.not_covered('file', 'no checker knows a file with these arrays')
    return report
  try:
    checker.check(report)
  except NotCovered as error:
    report.not_covered('file', str(error))
  except json.JSONDecodeError as error:
    report.not_covered('file', f'its meta is not JSON: {error}')
  else:
    report.finish()
  return report


def check_file(path: str, *, tolerance: float) -> int:
  """Prints the report on one file. Returns 0 within the tolerance, 1 beyond it, 2 if nothing is covered."""
  print(path)
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = dict(file)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    print(f'  cannot be read as an .npz of arrays: {error}')
    return 2
  report = check(arrays)
  print('\n'.join(report.lines(tolerance)))
  if not report.errors:
    print('  nothing covered')
    return 2
  worst = max(report.errors.values())
  print(f'  largest error {worst:.2e}, tolerance {tolerance:.0e}: {"ok" if worst <= tolerance else "FAILED"}')
  return 0 if worst <= tolerance else 1
