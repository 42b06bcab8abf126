"""The results of a sweep: all runs, means over seeds and paired comparisons, as files."""

import csv
import io
import statistics
from collections.abc import Callable, Sequence
from typing import Any, get_args

from etils import epath

from infformer_jax.ablation.comparison import comparisons
from infformer_jax.ablation.grid import Axis, Point, names
from infformer_jax.files import write_json, write_text
from infformer_jax.results_schema import Metric, NamedFigures, Property, Sweep

METRICS: tuple[Metric, ...] = get_args(Metric)
PROPERTIES: tuple[Property, ...] = get_args(Property)


def summary(axes: Sequence[Axis], points: Sequence[Point]) -> Sweep:
  """The figures of all finished runs, their means over seeds, and what they gain over no memory.

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
    'comparisons': comparisons([figures for figures in finished if 'by_document' in figures]),
    'not_compared': [figures['run'] for figures in finished if 'by_document' not in figures],
  }


def missing(points: Sequence[Point]) -> list[str]:
  """The names of the runs that are not finished."""
  return [point.workdir.name for point in points if not point.file.exists()]


def keep(
  axes: Sequence[Axis],
  points: Sequence[Point],
  workdir: epath.Path,
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


def write(sweep: Sweep, workdir: epath.Path) -> None:
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


def _mean(values: Sequence[float | None]) -> float | None:
  present = [value for value in values if value is not None]
  return statistics.fmean(present) if present else None
