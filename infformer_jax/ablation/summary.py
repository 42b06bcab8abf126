"""What a sweep found: every run, means over seeds, and both as a table."""

import csv
import dataclasses
import io
import math
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infformer_jax.ablation.grid import METRICS, SHOWN, Axis, Point, names
from infformer_jax.files import write_json, write_text


def summary(axes: Sequence[Axis], points: Sequence[Point]) -> dict[str, Any]:
  """What the finished points say: all of them, and means over seeds.

  The spread is the standard deviation over seeds (n - 1), null for one seed.
  """
  unfinished = missing(points)
  found = [
    {'run': point.workdir.name, **point.figures()} for point in points if point.workdir.name not in unfinished
  ]
  metric = 'accuracy' if any(figures['is_task'] for figures in found) else 'loss_nats_per_token'
  rows = []
  for values in dict.fromkeys(tuple(figures['values']) for figures in found):
    seeds = [figures for figures in found if tuple(figures['values']) == values]
    scores = [figures[metric] for figures in seeds if figures[metric] is not None]
    row: dict[str, Any] = dict(zip(names(axes), values, strict=True))
    row |= {'seeds': len(seeds), metric: statistics.fmean(scores) if scores else None}
    row[f'{metric}_spread'] = statistics.stdev(scores) if len(scores) > 1 else None
    row |= {name: _mean([figures[name] for figures in seeds]) for name in SHOWN}
    row['accuracy_by_group'] = {
      group: _mean([figures['accuracy_by_group'][group] for figures in seeds])
      for group in seeds[0]['accuracy_by_group']
    }
    rows.append(row)
  return {
    'axes': [dataclasses.asdict(axis) for axis in axes],
    'names': names(axes),
    'metric': metric,
    'missing': unfinished,
    'rows': rows,
    'points': found,
  }


def missing(points: Sequence[Point]) -> list[str]:
  """The runs that are not finished."""
  return [point.workdir.name for point in points if not point.file.is_file()]


def keep(
  axes: Sequence[Axis],
  points: Sequence[Point],
  workdir: pathlib.Path,
  draw: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
  """Writes and draws the summary, which it returns.

  Once more where another process has finished a point meanwhile: what that one wrote was with this point, and
  may have been replaced by what is written here without it.
  """
  while True:
    found = summary(axes, points)
    write(found, workdir)
    draw(found)
    if found['missing'] == missing(points):
      return found


def write(found: Mapping[str, Any], workdir: pathlib.Path) -> None:
  """W/ablation.json and W/ablation.csv, the latter with one line per finished run."""
  columns = ('seed', 'step', *METRICS, *SHOWN)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow([*found['names'], *columns])
  for figures in found['points']:
    writer.writerow([*figures['values'], *(figures[column] for column in columns)])
  write_text(workdir / 'ablation.csv', text.getvalue())
  write_json(workdir / 'ablation.json', found)


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """Rows of equal keys in aligned columns; numbers in four significant digits.

  >>> print(text_table([{'n': '64', 'error': 0.12345}, {'n': '128', 'error': None}]))
    n   error
   64  0.1235
  128       -
  """
  if not rows:
    return 'nothing is finished yet'
  names = [name for name in rows[0] if not isinstance(rows[0][name], Mapping)]
  cells = [names] + [[_cell(row[name]) for name in names] for row in rows]
  widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
  return '\n'.join(
    '  '.join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells
  )


def _mean(values: Sequence[float | None]) -> float | None:
  present = [value for value in values if value is not None]
  return statistics.fmean(present) if present else None


def _cell(value: Any) -> str:
  if value is None:
    return '-'
  if isinstance(value, float) and math.isfinite(value) and value != round(value):
    return f'{value:.4g}' if abs(value) < 1e4 else f'{value:,.0f}'
  return f'{value:,.0f}' if isinstance(value, int | float) else str(value)
