"""Ticks of age on the axes of plots over memory time."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes

AGES = tuple(2**power for power in range(1, 25))
"""Tokens. An axis has those that are far enough apart on it."""

APART = 0.09
"""The smallest distance of two ticks, as a share of [0, 1]."""

LABEL = 'age [tokens]'


def ticks(time_e: np.ndarray, age_e: np.ndarray) -> dict[int, float]:
  """The times of round ages, by age; the newest come first.

  Args:
    time_e: increasing times; those before 0 have no ticks.
    age_e: the ages there, decreasing; NaN where nothing is held.
  """
  held_e = np.isfinite(age_e)
  chosen: dict[int, float] = {}
  if not held_e.any():
    return chosen
  time_e, age_e = time_e[held_e][::-1], age_e[held_e][::-1]
  for age, time in zip(AGES, np.interp(AGES, age_e, time_e).tolist(), strict=True):
    apart = all(abs(time - other) >= APART for other in (*chosen.values(), 1))
    if apart and time >= 0 and age_e[0] <= age <= age_e[-1]:
      chosen[age] = time
  return chosen


def add_axis(
  panel: Axes, side: Literal['top', 'right'], times: dict[int, float], label: str | None = None
) -> None:
  """A second axis of a panel whose time is on the other axis, with ticks of age."""
  axis = panel.secondary_xaxis('top') if side == 'top' else panel.secondary_yaxis('right')
  set_ticks = axis.set_xticks if side == 'top' else axis.set_yticks
  set_ticks(list(times.values()), [name(age) for age in times])
  axis.tick_params(labelsize=7, length=2.5, pad=2)
  if label is not None:
    (axis.set_xlabel if side == 'top' else axis.set_ylabel)(label, fontsize=8)


def name(age: int) -> str:
  """64, 256, 1k, 4k, ...: in units of 1,024 tokens from there on.

  >>> [name(age) for age in (256, 4096, 2**20)]
  ['256', '4k', '1M']
  """
  return f'{age}' if age < 2**10 else f'{age // 2**10}k' if age < 2**20 else f'{age // 2**20}M'
