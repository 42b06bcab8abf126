"""Plots of continuous memories: where in time they are read and sampled, and how well they hold a signal."""

import math
from collections.abc import Mapping

import numpy as np
from etils import epath
from matplotlib import colormaps, colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infformer_jax.plotting import ages, style
from infformer_jax.records import SignalRecord

TICKS = (0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
FINE_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
AGES_AND_GREY = 'White lines: tokens of equal age; 0 is the newest in the memory. Grey: nothing is held.'


def where_layers_read(
  density_sj: Mapping[str, np.ndarray], age_se: Mapping[str, np.ndarray], path: epath.PathLike
) -> Figure:
  """The density over time with which each layer reads, for every segment of one document.

  Args:
    density_sj: per layer, by name, the density over [0, 1] (0 the oldest, 1 the newest; uniform is 1), mean
      over heads and tokens, in j equal bins; NaN while the memory is empty.
    age_se: per layer, the age in tokens at equidistant times from 0 to 1; NaN where nothing is held.
    path: the PNG file.
  """
  return _time_images(
    density_sj,
    age_se,
    path,
    'Where in time each layer reads its memory',
    f'Mean over heads and tokens; a uniform density is 1. {AGES_AND_GREY}',
    'density',
  )


def where_heads_read(layer: str, density_shj: np.ndarray, age_se: np.ndarray, path: epath.PathLike) -> Figure:
  """The same for each head of one layer.

  Args:
    layer: its name.
    density_shj: as in `where_layers_read`, of each head, mean over tokens.
    age_se: as there.
    path: the PNG file.
  """
  density_sj = {f'head {head}': density_shj[:, head] for head in range(density_shj.shape[1])}
  return _time_images(
    density_sj,
    dict.fromkeys(density_sj, age_se),
    path,
    f'Where in time each head reads: {layer}',
    f'Mean over tokens; a uniform density is 1. {AGES_AND_GREY}',
    'density',
  )


def sticky_histogram(
  histogram_sj: Mapping[str, np.ndarray], age_se: Mapping[str, np.ndarray], path: epath.PathLike
) -> Figure:
  """The histogram from which a sticky memory draws its sample points, for every segment.

  Args:
    histogram_sj: per layer, by name, attention received by j equal bins of [0, 1], in any unit; rows that
      are zero or NaN are shown as empty.
    age_se: as in `where_layers_read`.
    path: the PNG file.
  """
  density_sj = {}
  for name, histogram in histogram_sj.items():
    total = np.nansum(histogram, axis=1, keepdims=True)
    density_sj[name] = histogram.shape[1] * histogram / np.where(total > 0, total, np.nan)
  return _time_images(
    density_sj,
    age_se,
    path,
    'Where in time the sticky memory is sampled',
    f'The histogram that sets the points of the next write; even sampling has density 1. {AGES_AND_GREY}',
    'density of samples',
  )


def _time_images(
  density_sj: Mapping[str, np.ndarray],
  age_se: Mapping[str, np.ndarray],
  path: epath.PathLike,
  title: str,
  subtitle: str,
  label: str,
) -> Figure:
  """One image per layer: x is the segment, y the time in the memory; all have the same colour scale."""
  count = len(density_sj)
  columns = count if count <= 3 else min(4, math.ceil(math.sqrt(count)))
  rows = math.ceil(count / columns)
  finite = np.concatenate([d[np.isfinite(d)] for d in density_sj.values()] + [np.ones(1)])
  # Logarithmic, since a sharp density is a hundred times the uniform one, whose 1 is always in the range.
  low, high = max(0.03, min(0.5, np.percentile(finite, 1))), max(2.0, np.percentile(finite, 99.8))
  scale = colors.LogNorm(low, high, clip=True)  # Zeros are clipped: only an empty memory is grey.
  with style.canvas(path, 1.6 + 3.0 * columns, 1.2 + 2.1 * rows) as figure:
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colormap = colormaps[style.COLORMAP].with_extremes(bad=style.EMPTY)
    for i, (panel, (name, density)) in enumerate(zip(panels.flat, density_sj.items(), strict=False)):
      image = panel.imshow(
        np.ma.masked_invalid(_held(density, age_se[name]).T), origin='lower', extent=(0, len(density), 0, 1),
        aspect='auto', cmap=colormap, norm=scale, interpolation='nearest',
      )  # fmt: skip
      panel.set(title=name, yticks=[0, 0.5, 1])
      panel.grid(False)
      last = i % columns == columns - 1 or i + 1 == count
      _add_ages(panel, age_se[name], ages.LABEL if last else None)
      if i % columns == 0:
        panel.set(ylabel='time in the memory\n(0 oldest, 1 newest)')
      if i + columns >= count:
        panel.set(xlabel='segment of the document')
        panel.tick_params(labelbottom=True)
    for panel in panels.flat[count:]:
      panel.set_visible(False)
    bar = figure.colorbar(image, ax=panels, extend='both', shrink=0.9, label=label)
    ticks = [t for t in (FINE_TICKS if high < 100 * low else TICKS) if low <= t <= high]
    bar.set_ticks(ticks, labels=[f'{t:g}' for t in ticks])
    bar.minorticks_off()
    style.headline(figure, title, subtitle)
  return figure


def _held(density_sj: np.ndarray, age_se: np.ndarray) -> np.ndarray:
  """The densities, NaN in bins in which nothing is held."""
  upper_j = np.arange(1, density_sj.shape[1] + 1) / density_sj.shape[1]
  last_empty_s = (np.isnan(age_se).sum(axis=1) - 1) / (age_se.shape[1] - 1)
  return np.where(upper_j <= last_empty_s[:, None] + 1e-9, np.nan, density_sj)


def _add_ages(panel: Axes, age_se: np.ndarray, label: str | None) -> None:
  """An axis of the ages in the last segment, and a line of equal age through all segments for each tick."""
  time_e = np.linspace(0, 1, age_se.shape[1])
  chosen = ages.ticks(time_e, age_se[-1])
  ages.add_axis(panel, 'right', chosen, label)
  for age in chosen:
    line_s = [
      np.interp(age, age_e[::-1], time_e[::-1], right=np.nan) if np.isfinite(age_e[-1]) else np.nan
      for age_e in age_se
    ]
    panel.plot(np.arange(len(age_se)) + 0.5, line_s, color='white', linewidth=0.6, alpha=0.6)


def basis(signal: SignalRecord, path: epath.PathLike) -> Figure:
  """The basis functions: a few over the whole of [0, 1], and those near its middle.

  Args:
    signal: the n functions on a grid over [0, 1].
    path: the PNG file.
  """
  times_t, basis_tn = signal.times_t, signal.basis_tn.astype(float)
  num = basis_tn.shape[1]
  peaks = times_t[np.argmax(basis_tn, axis=0)]
  shades = colormaps[style.COLORMAP](0.05 + 0.85 * peaks)
  step = num // 16 | 1  # odd, so that both of two widths are shown
  near = np.abs(peaks - 0.5) <= min(0.5, 6 / num)
  with style.canvas(path, 7.2, 4.6) as figure:
    whole, middle = figure.subplots(2)
    for n in range(0, num, step):
      whole.plot(times_t, basis_tn[:, n], color=shades[n], linewidth=1.1)
    for n in np.flatnonzero(near).tolist():
      middle.plot(times_t, basis_tn[:, n], color=shades[n], linewidth=1.2)
    whole.set(xlim=(0, 1), ylabel='ψ(t)', title=f'One in {step}' if step > 1 else 'All')
    reach = min(0.5, 4 / num)
    middle.set(xlim=(0.5 - reach, 0.5 + reach), ylabel='ψ(t)', title='Those centred near the middle')
    middle.set_xlabel('t, time in the memory (0 oldest, 1 newest)')
    after = '' if signal.age_writes is None else f'after {signal.age_writes} writes '
    for panel, label in ((whole, f'age {after}[tokens]'), (middle, None)):
      ages.add_axis(panel, 'top', ages.ticks(times_t, signal.age_t, *panel.get_xlim()), label)
      if basis_tn.min() >= 0:
        panel.set_ylim(bottom=0)
    style.headline(figure, f'The {num} basis functions of the memory')
  return figure


def reconstruction(signal: SignalRecord, path: epath.PathLike) -> Figure:
  """Values that were written, and the signal that the memory holds; one panel per reconstruction.

  Args:
    signal: with at least one reconstruction.
    path: the PNG file.
  """
  held = signal.reconstructions
  with style.canvas(path, 7.2, 1.0 + 1.9 * len(held)) as figure:
    panels = figure.subplots(len(held), sharex=True, sharey=True, squeeze=False)[:, 0]
    for panel, each in zip(panels, held, strict=True):
      panel.plot(each.times_p, each.values_p, '.', color='#A8A8A8', markersize=2.5, label='values written')
      color = style.COLORS['reconstruction']
      panel.plot(signal.times_t, each.signal_t, color=color, linewidth=1.2, label="memory's signal")
      title = 'After the first write' if each.num_writes == 1 else f'After {each.num_writes} writes'
      panel.set(title=title, ylabel='value', xlim=(0, 1))
      age_p = np.arange(len(each.times_p))[::-1]
      ages.add_axis(
        panel, 'top', ages.ticks(each.times_p, age_p), None if panel is not panels[0] else ages.LABEL
      )
    panels[-1].set_xlabel('t, time in the memory (0 oldest, 1 newest)')
    style.legend_beside(panels[0])
    style.headline(figure, 'A signal and its reconstruction by the memory')
  return figure
