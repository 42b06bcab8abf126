"""Plots of a sweep: the metric and the regression error against the axis, cost, distances, training."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from matplotlib.axes import Axes

from infformer_jax.plotting import style
from infformer_jax.plotting.difference import difference
from infformer_jax.plotting.losses import LOSS, logged, moving_mean
from infformer_jax.results_schema import Sweep

METRICS = {'accuracy': 'accuracy', 'loss_nats_per_token': 'loss [nats per token]'}
COSTS = {
  'ms_per_segment_forward_backward': 'forward + backward\n[ms per segment]',
  'memory_bytes_per_lane': 'memory\n[bytes per lane]',
  'memory_flops_per_token': 'memory\n[FLOPs per token]',
}
LINES = ('-', (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def sweep(data: Sweep, workdir: epath.Path) -> None:
  """Draws ablation.png, cost.png, curves.png; if they exist, differences to a model without a memory in
  difference.png; for a task with several distances, distance.png.

  Args:
    data: the content of ablation.json.
    workdir: the work directory of the sweep; the plots are written to its plots/.
  """
  folder = workdir / 'plots'
  if not data['rows']:
    return
  _metric(data, folder / 'ablation.png')
  _cost(data, folder / 'cost.png')
  _curves(data, workdir / 'points', folder / 'curves.png')
  if data.get('comparisons'):
    difference(data['names'], data['comparisons'], folder / 'difference.png')
  if len(data['rows'][0]['accuracy_by_group']) > 1:
    _distance(data, folder / 'distance.png')


def _metric(data: Sweep, path: epath.Path) -> None:
  """The metric and the regression error over the first axis, each with its own scale: Figure 3, right."""
  metric = data['metric']
  numeric = _numbers(data) is not None
  # An axis of memories is not one of numbers; some of them have no signal and no regression error.
  has_error = numeric and any(row['regression_error'] is not None for row in data['rows'])
  with style.canvas(path, 7.2, 4.0) as figure:
    axes = figure.subplots()
    marks: dict[str, Any] = {'linestyle': '-' if numeric else '', 'capsize': 3}
    for line_style, (label, rows) in zip(_line_styles(data), _lines(data), strict=False):
      x = _positions(data, axes)
      at = [x[row[data['names'][0]]] for row in rows]
      means = np.array([row[metric] for row in rows], float)
      spread = np.array([row[f'{metric}_spread'] for row in rows], float)
      axes.errorbar(at, means, spread, label=label or METRICS[metric].split(' [')[0], **line_style, **marks)
      if not numeric and not label:
        for where, mean in zip(at, means, strict=True):
          if np.isfinite(mean):  # Losses often differ in their fourth digit only.
            axes.annotate(
              f'{mean:.5g}', (where, mean), xytext=(8, 0), textcoords='offset points', va='center'
            )
    axes.set(ylabel=METRICS[metric])
    if has_error:
      twin = axes.twinx()
      twin.spines['right'].set_visible(True)
      twin.grid(visible=False)
      for color, (label, rows) in zip(_colors(), _lines(data), strict=False):
        errors = np.array([row['regression_error'] for row in rows], float)
        if not np.isfinite(errors).any():
          continue
        at = [x[row[data['names'][0]]] for row in rows]
        name = f'{label}, regression error' if label else 'regression error'
        line_color = color if label else style.COLORS['emptied']
        twin.plot(at, errors, 's--', color=line_color, markersize=3.5, linewidth=1.1, label=name)
      twin.set_ylabel('regression error [|X − X̄|² / |X|²]')
      _from_zero(twin)
    handles = [handle for a in figure.axes for handle in a.get_legend_handles_labels()[0]]
    labels = [label for a in figure.axes for label in a.get_legend_handles_labels()[1]]
    if len(handles) > 1:
      figure.legend(handles, labels, loc='outside lower center', ncols=2)
    seeds = sorted({row['seeds'] for row in data['rows'] if row['seeds'] > 1})
    style.headline(figure, f'{METRICS[metric].split(" [")[0].capitalize()} against {data["names"][0]}')
    if seeds:
      axes.set_title(f'Bars: standard deviation over {" or ".join(map(str, seeds))} seeds')


def _cost(data: Sweep, path: epath.Path) -> None:
  with style.canvas(path, 7.2, 2.6 * len(COSTS)) as figure:
    panels = figure.subplots(len(COSTS), sharex=True)
    for panel, (name, label) in zip(panels, COSTS.items(), strict=True):
      for line_style, (series, rows) in zip(_line_styles(data), _lines(data), strict=False):
        x = _positions(data, panel)
        at = [x[row[data['names'][0]]] for row in rows]
        values = np.array([row[name] for row in rows], float)
        line_style['linestyle'] = '' if _numbers(data) is None else '-'
        panel.plot(at, values, label=series or None, clip_on=False, **line_style)  # Marks at 0 stay whole.
      panel.set_ylabel(label)
      _from_zero(panel)
      panel.yaxis.set_major_formatter('{x:,.0f}' if panel.get_ylim()[1] > 10 else '{x:g}')
      panel.label_outer()
    if len(data['axes']) > 1:
      style.legend_beside(panels[0])
    style.headline(figure, f'Cost against {data["names"][0]}')


def _distance(data: Sweep, path: epath.Path) -> None:
  """One curve per setting; the names of groups are like 'distance_4'."""
  with style.canvas(path, 7.2, 4.0) as figure:
    axes = figure.subplots()
    for row in data['rows']:
      groups = row['accuracy_by_group']
      distances = [int(group.rpartition('_')[2]) for group in groups]
      accuracies = np.array(list(groups.values()), float)
      setting = tuple(row[name] for name in data['names'])
      axes.plot(distances, accuracies, **_line_style(data, setting))
    axes.set_xscale('log', base=2)
    axes.set_xticks(distances, [str(distance) for distance in distances])
    axes.set(xlabel='distance [segments]', ylabel='accuracy', ylim=(-0.03, 1.03))
    style.legend_beside(axes, ', '.join(data['names']))
    style.headline(figure, 'Accuracy against distance')


def _curves(data: Sweep, points: epath.Path, path: epath.Path) -> None:
  """The training loss of every run; all seeds of a setting have the same colour and mark."""
  curves = []
  for point in data['points']:
    lines = [line for line in logged(points / point['run']) if line['split'] == 'train']
    if lines:
      curves.append(
        (tuple(point['values']), np.array([(line['step'], line[LOSS]) for line in lines], float).T)
      )
  if not curves:
    return
  with style.canvas(path, 7.2, 4.0) as figure:
    axes = figure.subplots()
    shown: set[tuple[str, ...]] = set()
    for setting, (steps, losses) in curves:
      line_style = _line_style(data, setting)
      if setting in shown:
        del line_style['label']
      shown.add(setting)
      line_style['markevery'] = [-1]  # A single step has no line.
      axes.plot(*moving_mean(steps, losses, max(1, len(steps) // 40)), linewidth=1.2, **line_style)
    axes.set(xlabel='training step', ylabel=METRICS[LOSS])
    style.whole_steps(axes)
    style.legend_beside(axes, ', '.join(data['names']))
    style.headline(figure, 'Loss during training')


def _line_style(data: Sweep, setting: Sequence[str]) -> dict[str, Any]:
  """The last axis determines the colour, the first of two axes the line style; marks are unique."""
  axes = [axis['values'] for axis in data['axes']]
  first = axes[0].index(setting[0]) if len(axes) > 1 else 0
  last = axes[-1].index(setting[-1])
  return {
    'color': _colors()[last],
    'linestyle': LINES[first % len(LINES)],
    'marker': style.MARKERS[(first * len(axes[-1]) + last) % len(style.MARKERS)],
    'label': ', '.join(setting),
    **style.OPEN,
  }


def _line_styles(data: Sweep) -> list[dict[str, Any]]:
  """The colour and mark of each line over the first axis."""
  if len(data['axes']) == 1:
    return [{'color': _colors()[0], 'marker': 'o', 'markersize': 4 if _numbers(data) else 7}]
  marks = itertools.cycle(style.MARKERS)
  return [
    {'color': color, 'marker': mark, **style.OPEN} for color, mark in zip(_colors(), marks, strict=False)
  ]


def _lines(data: Sweep) -> list[tuple[str, list[Mapping[str, Any]]]]:
  """The rows by value of the second axis; one unnamed line if there is no second axis."""
  names = data['names']
  if len(names) == 1:
    return [('', list(data['rows']))]
  values = dict.fromkeys(row[names[1]] for row in data['rows'])
  return [(f'{names[1]} {v}', [row for row in data['rows'] if row[names[1]] == v]) for v in values]


def _numbers(data: Sweep) -> list[float] | None:
  """The values of the first axis if all are positive numbers, so that they have a log scale; else None."""
  try:
    numbers = [float(value) for value in data['axes'][0]['values']]
  except ValueError:
    return None
  return numbers if min(numbers) > 0 else None


def _positions(data: Sweep, axes: Axes) -> dict[str, float]:
  """The x positions of the values of the first axis: on a log2 scale if numbers, else side by side."""
  values: Sequence[str] = data['axes'][0]['values']
  axes.set_xlabel(data['names'][0])
  numbers = _numbers(data)
  if numbers is None:
    axes.set_xticks(range(len(values)), values)
    axes.set_xlim(-0.5, len(values) - 0.5)
    return dict(zip(values, map(float, range(len(values))), strict=True))
  axes.set_xscale('log', base=2)
  axes.set_xticks(numbers, values)
  axes.minorticks_off()
  return dict(zip(values, numbers, strict=True))


def _from_zero(axes: Axes) -> None:
  """The y axis starts at 0 and ends above the highest mark."""
  highest = axes.dataLim.y1
  axes.set_ylim(0, 1.08 * highest if 0 < highest < np.inf else None)


def _colors() -> list[str]:
  """Okabe and Ito's palette, ordered so that successive colours differ most."""
  return ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00', '#000000', '#7A7A7A'] * 4
