"""Plots of continuous memories: where in time they are read and sampled, and how well they hold a signal."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import colormaps, colors
from matplotlib.figure import Figure

from infformer_jax.plotting import style
from infformer_jax.records import SignalRecord

TICKS = (0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
FINE_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


def where_layers_read(density_sj: Mapping[str, np.ndarray], path: str | Path) -> Figure:
  """The density over time with which each layer reads, for every segment of one document.

  Args:
    density_sj: per layer, by name, the density over [0, 1] (0 the oldest, 1 the newest; uniform is 1), mean
      over heads and tokens, in j equal bins; NaN while the memory is empty.
    path: the PNG file.
  """
  return _time_images(
    density_sj,
    path,
    'Where in time each layer reads its memory',
    'Mean over heads and tokens; a uniform density is 1. Grey: the memory is still empty.',
    'density',
  )


def where_heads_read(layer: str, density_shj: np.ndarray, path: str | Path) -> Figure:
  """The same for each head of one layer.

  Args:
    layer: its name.
    density_shj: as in `where_layers_read`, of each head, mean over tokens.
    path: the PNG file.
  """
  return _time_images(
    {f'head {head}': density_shj[:, head] for head in range(density_shj.shape[1])},
    path,
    f'Where in time each head reads: {layer}',
    'Mean over tokens; a uniform density is 1. Grey: the memory is still empty.',
    'density',
  )


def sticky_histogram(histogram_sj: Mapping[str, np.ndarray], path: str | Path) -> Figure:
  """The histogram from which a sticky memory draws its sample points, for every segment.

  Args:
    histogram_sj: per layer, by name, attention received by j equal bins of [0, 1], in any unit; rows that
      are zero or NaN are shown as empty.
    path: the PNG file.
  """
  density_sj = {}
  for name, histogram in histogram_sj.items():
    total = np.nansum(histogram, axis=1, keepdims=True)
    density_sj[name] = histogram.shape[1] * histogram / np.where(total > 0, total, np.nan)
  return _time_images(
    density_sj,
    path,
    'Where in time the sticky memory is sampled',
    'The histogram that sets the sample points of the next write; even sampling has density 1. Grey: nothing '
    'was read yet.',
    'density of samples',
  )


def _time_images(
  density_sj: Mapping[str, np.ndarray], path: str | Path, title: str, subtitle: str, label: str
) -> Figure:
  """One image per layer: x is the segment, y the time in the memory; all have the same colour scale."""
  count = len(density_sj)
  columns = count if count <= 3 else min(4, math.ceil(math.sqrt(count)))
  rows = math.ceil(count / columns)
  finite = np.concatenate([d[np.isfinite(d)] for d in density_sj.values()] + [np.ones(1)])
  # Logarithmic, since a sharp density is a hundred times the uniform one, whose 1 is always in the range.
  low, high = max(0.03, min(0.5, np.percentile(finite, 1))), max(2.0, np.percentile(finite, 99.8))
  scale = colors.LogNorm(low, high, clip=True)  # Zeros are clipped: only an empty memory is grey.
  with style.canvas(path, 1.6 + 2.7 * columns, 1.2 + 2.1 * rows) as figure:
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colormap = colormaps[style.COLORMAP].with_extremes(bad=style.EMPTY)
    for i, (panel, (name, density)) in enumerate(zip(panels.flat, density_sj.items(), strict=False)):
      image = panel.imshow(
        np.ma.masked_invalid(density.T), origin='lower', extent=(0, len(density), 0, 1), aspect='auto',
        cmap=colormap, norm=scale, interpolation='nearest',
      )  # fmt: skip
      panel.set(title=name, yticks=[0, 0.5, 1])
      panel.grid(False)
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


def basis(signal: SignalRecord, path: str | Path) -> Figure:
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
    for panel in (whole, middle):
      if basis_tn.min() >= 0:
        panel.set_ylim(bottom=0)
    style.headline(figure, f'The {num} basis functions of the memory')
  return figure


def reconstruction(signal: SignalRecord, path: str | Path) -> Figure:
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
    panels[-1].set_xlabel('t, time in the memory (0 oldest, 1 newest)')
    style.legend_beside(panels[0])
    style.headline(figure, 'A signal and its reconstruction by the memory')
  return figure
