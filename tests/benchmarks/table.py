"""Rows of the benchmark table, in Markdown and in JSON.

Every figure is a cost (milliseconds, MiB, ...), so that smaller is better, and a ratio is ours / other.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tests.benchmarks.measure import Times

HEADER = '| what | ours | other | ratio | goal | met |\n|---|---|---|---|---|---|'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
  """The median of some values and their quartiles; all three are equal for a value that has no spread."""

  median: float
  lower: float
  upper: float

  @classmethod
  def of(cls, values: Sequence[float]) -> 'Spread':
    """Of one value or more."""
    lower, median, upper = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return cls(median=median, lower=lower, upper=upper)

  def __str__(self) -> str:
    if self.lower == self.upper:
      return digits(self.median)
    return f'{digits(self.median)} ({digits(self.lower)} to {digits(self.upper)})'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goal:
  """An upper bound of the ratio to the other contestant, or of our own figure."""

  at_most: float
  of: Literal['ratio', 'ours'] = 'ratio'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One comparison."""

  what: str
  unit: str
  ours: Spread
  other: Spread | None = None  # None: there is no other contestant, or it is not installed
  other_name: str = ''
  ratio: Spread | None = None
  goal: Goal | None = None
  at: int | None = None  # the place on the axis of a plot, such as tokens of context

  @property
  def met(self) -> bool | None:
    """Whether the median meets the goal; None without a goal, or without what it is about."""
    if self.goal is None:
      return None
    spread = self.ours if self.goal.of == 'ours' else self.ratio
    return None if spread is None else spread.median <= self.goal.at_most

  def markdown(self) -> str:
    """A line of the table."""
    other = self.other_name
    if self.other is not None:
      other = f'{self.other_name}: {self.other} {self.unit}'
    elif self.other_name:
      other = f'{self.other_name} is not installed'
    cells = [self.what, f'{self.ours} {self.unit}', other, str(self.ratio or ''), self._goal()]
    return f'| {" | ".join([*cells, {None: "-", True: "yes", False: "no"}[self.met]])} |'

  def json(self) -> dict[str, Any]:
    """The fields and whether the goal is met."""
    return {**dataclasses.asdict(self), 'met': self.met}

  def _goal(self) -> str:
    if self.goal is None:
      return ''
    return f'≤ {self.goal.at_most:g}' + (f' {self.unit}' if self.goal.of == 'ours' else '')


def timed(
  what: str, times: Times, other: str | None = None, *, goal: Goal | None = None, per: float = 1
) -> Row:
  """A row of milliseconds. Its ratio is the median of the ratios of the two runs of every round.

  Args:
    what: the first column.
    times: of the contestant 'ours' and of the other one, which may be missing (not installed).
    other: the name of the other contestant; None: there is none.
    goal: if any.
    per: divides the times, such as thousands of tokens in a run.
  """
  ours = np.array(times['ours']) * 1000 / per
  row = Row(what=what, unit='ms', ours=Spread.of(ours), other_name=other or '', goal=goal)
  if other not in times:
    return row
  others = np.array(times[other]) * 1000 / per
  return dataclasses.replace(row, other=Spread.of(others), ratio=Spread.of(ours / others))


def exact(
  what: str,
  unit: str,
  ours: float,
  other: float | None = None,
  other_name: str = '',
  *,
  goal: Goal | None = None,
) -> Row:
  """A row of figures that do not vary between runs, such as sizes."""
  row = Row(what=what, unit=unit, ours=Spread.of([ours]), other_name=other_name, goal=goal)
  if other is None:
    return row
  return dataclasses.replace(row, other=Spread.of([other]), ratio=Spread.of([ours / other]))


def digits(value: float) -> str:
  """Three significant digits, never in scientific notation.

  >>> [digits(x) for x in (0.01234, 1.5, 20.26, 1234.4)]
  ['0.0123', '1.50', '20.3', '1234']
  """
  decimals = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
  return f'{value:.{decimals}f}'
