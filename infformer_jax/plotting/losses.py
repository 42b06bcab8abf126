"""Plots of losses: over training, and over the position in the document."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from etils import epath
from matplotlib.figure import Figure

from infformer_jax import paths
from infformer_jax.errors import UserError
from infformer_jax.plotting import style
from infformer_jax.results_schema import ByGroup, ByPosition

LOSS = 'loss_nats_per_token'
VIEWS = ('memory', 'emptied', 'exchanged')


def logged(workdir: epath.Path) -> list[dict[str, Any]]:
  """The lines of W/metrics.jsonl; [] if there is no such file.

  Raises:
    UserError: a line is damaged; names it.
    paths.errors(): the file cannot be read.
  """
  file = workdir / 'metrics.jsonl'
  # The text after the last newline is a line that is still being written.
  lines = paths.read_bytes(file).split(b'\n')[:-1] if file.exists() else []
  logged = []
  for number, text in enumerate(lines, start=1):
    try:
      line = json.loads(text)
      if not _is_drawable(line['step'], line['split'], line.get(LOSS)):
        raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
      raise UserError(f'{file}, line {number} is damaged; remove it') from None
    logged.append(line)
  return logged


def _is_drawable(step: object, split: object, loss: object) -> bool:
  return type(step) is int and isinstance(split, str) and (loss is None or type(loss) in (int, float))


def loss_curves(lines: Iterable[Mapping[str, Any]], path: epath.PathLike) -> Figure | None:
  """The loss of every split against the step of training.

  Args:
    lines: parsed lines of metrics.jsonl, each with `step` and `split`; those without a loss are skipped.
    path: the PNG file.
  Returns:
    The figure; None, and no file, if no line has a loss.
  """
  curves: dict[str, list[tuple[int, float]]] = {}
  for line in lines:
    if line.get(LOSS) is not None:
      curves.setdefault(line['split'], []).append((line['step'], line[LOSS]))
  if not curves:
    return None
  with style.canvas(path, 7.2, 4.0) as figure:
    axes = figure.subplots()
    for split, points in curves.items():
      steps, losses = np.array(sorted(points), float).T
      color = style.COLORS.get(split, style.OTHER)
      if split == 'train':
        window = max(1, len(steps) // 40)
        if window > 1:
          axes.plot(steps, losses, color=color, alpha=0.35, linewidth=0.7)
          label = f'train, mean of {window} records'
        else:
          label = 'train'
        mark = 'o' if len(steps) == 1 else ''  # A single point has no line.
        axes.plot(*moving_mean(steps, losses, window), marker=mark, markersize=3.5, color=color, label=label)
      else:
        axes.plot(steps, losses, 'o-', color=color, markersize=3.5, label=split, zorder=3)
        axes.annotate(
          f'{losses[-1]:.3f}', (steps[-1], losses[-1]), xytext=(5, 0), textcoords='offset points',
          color=color, va='center', fontsize=8,
        )  # fmt: skip
    axes.set(xlabel='training step', ylabel='loss [nats per token]')
    style.whole_steps(axes)
    axes.margins(x=0.02)
    style.legend_beside(axes)
    style.headline(figure, 'Loss during training')
  return figure


def loss_by_position(by_position: ByPosition, reach_tokens: int, path: epath.PathLike) -> Figure:
  """The loss against the position in the document, and its differences from the controls.

  Args:
    by_position: from results.json, one entry per bin; None where there is no figure.
    reach_tokens: the position from which the short-term window no longer reaches the start of the document.
    path: the PNG file.
  """
  start, stop = np.array(by_position['start_tokens'], float), np.array(by_position['stop_tokens'], float)
  middle = (start + stop) / 2
  views, differences = by_position['loss_nats_per_token'], by_position['memory_minus']
  with style.canvas(path, 7.2, 5.4 if differences else 3.6) as figure:
    panels = figure.subplots(2 if differences else 1, sharex=True, squeeze=False)[:, 0]
    for view, loss in views.items():
      panels[0].plot(middle, np.array(loss, float), 'o-', color=style.COLORS[view], markersize=3, label=view)
    panels[0].set(ylabel='loss [nats per token]', xscale='log')
    for view, difference in differences.items():
      mean = np.array(difference['nats_per_token'], float)
      error = 2 * np.array(difference['standard_error'], float)
      color = style.COLORS[view]
      panels[1].fill_between(middle, mean - error, mean + error, color=color, alpha=0.18, linewidth=0)
      panels[1].plot(middle, mean, 'o-', color=color, markersize=3, label=f'memory − {view}')
    if differences:
      panels[1].axhline(0, color=style.INK, linewidth=0.8)
      panels[1].set(ylabel='difference [nats per token]', title='Below 0: the memory helps')
      style.legend_beside(panels[1])
    for panel in panels:
      panel.axvline(reach_tokens, color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)))
    panels[0].axvline(
      np.nan, color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)), label='reach of the window'
    )
    panels[-1].set_xlabel('position in the document [tokens]')
    style.legend_beside(panels[0])
    has_bands = any((error or 0) > 0 for d in differences.values() for error in d['standard_error'])
    bands = 'Bands: two standard errors over documents. ' if has_bands else ''
    style.headline(
      figure,
      'Loss by position in the document',
      f'{bands}Dashed line: up to {reach_tokens:,} tokens, the short-term window covers the whole document.',
    )
  return figure


def accuracy_by_group(by_group: ByGroup, path: epath.PathLike) -> Figure:
  """The accuracy of each group of answers; if their names are like 'distance_4', a curve over distances.

  Args:
    by_group: from results.json, `accuracy` by group and view; None where there is none.
    path: the PNG file.
  """
  groups = list(by_group)
  views = [view for view in VIEWS if any(view in figures for figures in by_group.values())]
  is_distance = all(re.fullmatch(r'distance_\d+', group) for group in groups)
  with style.canvas(path, 7.2, 4.0 if len(groups) > 1 else 3.0) as figure:
    axes = figure.subplots()
    for number, view in enumerate(views):
      values = [figures[view]['accuracy'] if view in figures else None for figures in by_group.values()]
      accuracy = np.array(values, float)
      look: dict[str, Any] = {'color': style.COLORS[view], 'label': view}
      if is_distance:
        distances = [int(group.removeprefix('distance_')) for group in groups]
        axes.plot(distances, accuracy, marker=style.MARKERS[number], **style.OPEN, **look)
      else:
        width = 0.8 / len(views)
        places = np.arange(len(groups)) + (number - (len(views) - 1) / 2) * width
        bars = axes.bar(places, accuracy, 0.92 * width, **look)
        axes.bar_label(bars, [f'{a:.3f}' if np.isfinite(a) else '' for a in accuracy], fontsize=8)
    if is_distance:
      axes.set_xscale('log', base=2)
      axes.set_xticks(distances, [str(distance) for distance in distances])
      axes.minorticks_off()
      axes.set(xlabel='distance between question and answer [segments]', ylim=(-0.03, 1.05))
      axes.set_xlim(min(distances) / 1.2, max(distances) * 1.2)  # Includes distances without answers.
    else:
      axes.set_xticks(range(len(groups)), [group.replace('_', ' ') for group in groups])
      axes.set(xlabel='group of answers', ylim=(0, 1.05))
    axes.set_ylabel('accuracy')
    style.legend_beside(axes)
    style.headline(figure, 'Accuracy against distance' if is_distance else 'Accuracy of the answers')
  return figure


def moving_mean(x: np.ndarray, y: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
  """Means of `window` successive values, each at the middle of its window."""
  kernel = np.full(window, 1 / window)
  return np.convolve(x, kernel, 'valid'), np.convolve(y, kernel, 'valid')
