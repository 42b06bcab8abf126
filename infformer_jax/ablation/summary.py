"""The results of a sweep: all runs, and means over seeds, as files and as a table."""

import csv
import io
import math
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from infformer_jax.ablation.grid import Axis, Point, names
from infformer_jax.files import write_json, write_text
from infformer_jax.results_schema import Metric, NamedFigures, Property, Sweep
from infformer_jax.text_table import text_table

METRICS: tuple[Metric, ...] = get_args(Metric)
PROPERTIES: tuple[Property, ...] = get_args(Property)


def summary(axes: Sequence[Axis], points: Sequence[Point]) -> Sweep:
  """The figures of all finished runs, and their means over seeds.

  The spread is the standard deviation over seeds (n - 1), null for one seed.
  """
  unfinished = missing(points)
  finished: list[NamedFigures] = [
    {'run': point.workdir.name, **point.figures()} for point in points if point.workdir.name not in unfinished
  ]
  is_task = any(figures['is_task'] for figures in finished)
  metric: Metric = 'accuracy' if is_task else 'loss_nats_per_token'
  rows = []
  for values in dict.fromkeys(tuple(figures['values']) for figures in finished):
    seeds = [figures for figures in finished if tuple(figures['values']) == values]
    scores = [score for figures in seeds if (score := figures[metric]) is not None]
    row: dict[str, Any] = dict(zip(names(axes), values, strict=True))
    row |= {'seeds': len(seeds), metric: statistics.fmean(scores) if scores else None}
    row[f'{metric}_spread'] = statistics.stdev(scores) if len(scores) > 1 else None
    row |= {name: _mean([figures[name] for figures in seeds]) for name in PROPERTIES}
    row['accuracy_by_group'] = {
      group: _mean([figures['accuracy_by_group'][group] for figures in seeds])
      for group in seeds[0]['accuracy_by_group']
    }
    rows.append(row)
  return {
    'axes': [{'key': axis.key, 'values': list(axis.values)} for axis in axes],
    'names': names(axes),
    'metric': metric,
    'missing': unfinished,
    'rows': rows,
    'points': finished,
  }


def missing(points: Sequence[Point]) -> list[str]:
  """The names of the runs that are not finished."""
  return [point.workdir.name for point in points if not point.file.is_file()]


def keep(
  axes: Sequence[Axis],
  points: Sequence[Point],
  workdir: pathlib.Path,
  draw: Callable[[Sweep], None],
) -> Sweep:
  """Writes and plots the summary, and returns it.

  Repeats this if another process finished a run in the meantime: the summary of that process, which includes
  the run, may have been replaced by the one written here, which does not.
  """
  while True:
    sweep = summary(axes, points)
    write(sweep, workdir)
    draw(sweep)
    if sweep['missing'] == missing(points):
      return sweep


def write(sweep: Sweep, workdir: pathlib.Path) -> None:
  """Writes W/ablation.json, and W/ablation.csv with one line per finished run."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow([*sweep['names'], 'seed', 'step', *METRICS, *PROPERTIES])
  for figures in sweep['points']:
    metrics = [figures[metric] for metric in METRICS]
    properties = [figures[name] for name in PROPERTIES]
    writer.writerow([*figures['values'], figures['seed'], figures['step'], *metrics, *properties])
  write_text(workdir / 'ablation.csv', text.getvalue())
  write_json(workdir / 'ablation.json', sweep)


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """Rows of equal keys as a table for the terminal; numbers have four significant digits.

  >>> print(rows_table([{'n': '64', 'error': 0.12345}, {'n': '128', 'error': None}]))
    n   error
   64  0.1235
  128       -
  """
  if not rows:
    return 'nothing is finished yet'
  names = [name for name in rows[0] if not isinstance(rows[0][name], Mapping)]
  return text_table([names, *([_cell(row[name]) for name in names] for row in rows)])


def _mean(values: Sequence[float | None]) -> float | None:
  present = [value for value in values if value is not None]
  return statistics.fmean(present) if present else None


def _cell(value: Any) -> str:
  if value is None:
    return '-'
  if isinstance(value, float) and math.isfinite(value) and value != round(value):
    return f'{value:.4g}' if abs(value) < 1e4 else f'{value:,.0f}'
  return f'{value:,.0f}' if isinstance(value, int | float) else str(value)
