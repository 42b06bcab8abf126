"""Ticks of age on the axes of plots over memory time."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

AGES = tuple(2**power for power in range(1, 25))
"""Tokens. An axis has those that are far enough apart on it."""

APART = 0.09
"""The smallest distance of two ticks, as a share of the axis."""

LABEL = 'age [tokens]'


def ticks(time_e: np.ndarray, age_e: np.ndarray, low: float = 0.0, high: float = 1.0) -> dict[int, float]:
  """The times of round ages, by age; the newest come first.

  Args:
    time_e: increasing times.
    age_e: the ages there, decreasing; NaN where nothing is held.
    low: where the axis begins; times before it have no ticks.
    high: where it ends. On a part of [0, 1] with fewer than two ages of `AGES`, ages are multiples of one.
  """
  held_e = np.isfinite(age_e)
  if not held_e.any():
    return {}
  time_e, age_e = time_e[held_e], age_e[held_e]

  def placed(ages: Sequence[int]) -> dict[int, float]:
    chosen: dict[int, float] = {}
    for age, time in zip(ages, np.interp(ages, age_e[::-1], time_e[::-1]).tolist(), strict=True):
      apart = all(abs(time - other) >= APART * (high - low) for other in (*chosen.values(), high))
      if apart and low <= time <= high and age_e[-1] <= age <= age_e[0]:
        chosen[age] = time
    return chosen

  chosen = placed(AGES)
  if len(chosen) < 2 and high - low < 1:
    newest, oldest = np.interp([high, low], time_e, age_e).tolist()
    step = 2 ** max(0, math.ceil(math.log2(max(oldest - newest, 1) / 6)))
    return placed(range(math.ceil(newest / step) * step, math.floor(oldest) + 1, step))
  return chosen


def add_axis(
  panel: Axes, side: Literal['top', 'right'], times: dict[int, float], label: str | None = None
) -> None:
  """A second axis of a panel whose time is on the other axis, with ticks of age."""
  axis = panel.secondary_xaxis('top') if side == 'top' else panel.secondary_yaxis('right')
  set_ticks = axis.set_xticks if side == 'top' else axis.set_yticks
  write = name if set(times) <= set(AGES) else '{:,}'.format
  set_ticks(list(times.values()), [write(age) for age in times])
  axis.tick_params(labelsize=7, length=2.5, pad=2)
  if label is not None:
    (axis.set_xlabel if side == 'top' else axis.set_ylabel)(label, fontsize=8)


def name(age: int) -> str:
  """64, 256, 1k, 4k, ...: in units of 1,024 tokens from there on.

  >>> [name(age) for age in (256, 4096, 2**20)]
  ['256', '4k', '1M']
  """
  return f'{age}' if age < 2**10 else f'{age // 2**10}k' if age < 2**20 else f'{age // 2**20}M'
