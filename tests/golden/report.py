"""The report of a checker on one file: its inputs, and the errors of the compared arrays."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np


class NotCovered(Exception):
  """A case, or a whole file, that the library does not support; the message is the reason."""


class Settings(dict):
  """Settings or parameters of a file; a missing one raises NotCovered."""

  def __missing__(self, key: str) -> Any:
    raise NotCovered(f"the file has no '{key}'")


def relative_error(ours: Any, theirs: np.ndarray) -> float:
  """Largest difference divided by the largest absolute value; inf if the arrays cannot be compared."""
  ours = np.asarray(ours)
  if ours.shape != theirs.shape:
    return np.inf
  difference = np.abs(ours.astype(np.float64) - theirs).max(initial=0)
  error = difference / (np.abs(theirs).max(initial=0) or 1)
  return float(error) if np.isfinite(error) else np.inf


@dataclasses.dataclass
class Report:
  """Reads arrays for a checker and records whether each was used: as input, compared or unchecked."""

  arrays: Mapping[str, np.ndarray]
  errors: dict[str, float] = dataclasses.field(default_factory=dict)  # by array
  reasons: dict[str, str] = dataclasses.field(default_factory=dict)  # unchecked, by array
  uncovered: dict[str, str] = dataclasses.field(default_factory=dict)  # reason by case
  inputs: set[str] = dataclasses.field(default_factory=set)

  def __contains__(self, key: str) -> bool:
    return key in self.arrays

  def input(self, key: str) -> np.ndarray:
    """An array that is used as an input.

    Raises:
      NotCovered: the file has no such array.
    """
    if key not in self.arrays:
      raise NotCovered(f"the file has no '{key}'")
    self.inputs.add(key)
    return self.arrays[key]

  def compare(self, key: str, ours: Any, *, weight: Any = 1.0) -> None:
    """Compares with an array, if the file has it. The weight multiplies both sides; 0 also masks NaN."""
    if key in self.arrays:
      weight = np.asarray(weight)
      sides = (np.where(weight == 0, 0, np.asarray(side)) * weight for side in (ours, self.arrays[key]))
      self.errors[key] = relative_error(*sides)

  def unchecked(self, pattern: str, reason: str) -> None:
    """Records why the arrays whose full name matches are not compared."""
    for key in self.arrays:
      if re.fullmatch(pattern, key) and key not in self.inputs:
        self.reasons[key] = reason

  def not_covered(self, case: str, reason: str) -> None:
    """Records a case that the library does not support; array names start with the name of their case."""
    self.uncovered[case] = reason

  def finish(self) -> None:
    """Records arrays that no rule covers as unchecked."""
    for key in self.arrays:
      known = key in self.inputs or key in self.errors or key in self.reasons
      if not known and key.split('/')[0] not in self.uncovered:
        self.reasons[key] = 'no rule for an array of this name'

  def largest(self) -> dict[str, float]:
    """The largest error of each quantity, over the segments."""
    largest: dict[str, float] = {}
    for key, error in self.errors.items():
      quantity = re.sub(r'^seg\d+/', '', key)
      largest[quantity] = max(error, largest.get(quantity, 0.0))
    return largest

  def lines(self, tolerance: float) -> list[str]:
    """The report as text, with one line per quantity."""
    lines = []
    for quantity, error in self.largest().items():
      lines.append(f'  {quantity:<40} {error:9.2e}{"" if error <= tolerance else "  ABOVE TOLERANCE"}')
    reasons: dict[str, str] = {}
    for key, reason in self.reasons.items():
      reasons[re.sub(r'^seg\d+/', '', key)] = reason
    lines += [f'  {quantity:<40} unchecked: {reason}' for quantity, reason in reasons.items()]
    lines += [f'  {case:<40} not covered: {reason}' for case, reason in self.uncovered.items()]
    return lines
