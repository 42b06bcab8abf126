"""The pictures of docs/performance.md, from the figures of a run of all benchmarks; `held_by_age` is apart.

python -m tests.benchmarks.run --json FILE
python -m tests.benchmarks.plots FILE docs
"""

import argparse
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from infformer_jax.plotting import style
from tests.benchmarks.against_attention import CASE, JAX, TORCH, cache_mib, state_mib

NAMES = {JAX: 'exact attention, jax.nn', TORCH: 'exact attention, PyTorch'}
COLORS = {JAX: style.COLORS['emptied'], TORCH: style.COLORS['exchanged']}


def step_profile(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  """The time of every part of a training step, and the time of its matrix products."""
  *shown, whole = rows
  names = [row['what'].partition(': ')[2] for row in shown]
  with style.canvas(path, 7, 3) as figure:
    axes = figure.subplots()
    axes.barh(names, [row['ours']['median'] for row in shown], color=style.COLORS['memory'])
    bare = [(i, row['other']['median']) for i, row in enumerate(shown) if row['other']]
    axes.scatter([ms for _, ms in bare], [i for i, _ in bare], marker='|', s=300, color=style.INK, zorder=3)
    axes.invert_yaxis()
    axes.grid(visible=False, axis='y')
    axes.set_xlabel('ms per step, forward and backward')
    subtitle = (
      '3 layers, width 768, l 512, M 512, s 4, batch 1, sticky memory; each part alone. Black: its matrix '
      f'products at the rate of a large one. The whole step takes {whole["ours"]["median"]:.0f} ms.'
    )
    style.headline(figure, 'Where the time of a training step goes', subtitle)


def context_length(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  """Time of a segment and memory against the length of the context."""
  lengths = sorted({row['at'] for row in rows})
  ours = {row['at']: row['ours']['median'] for row in rows}
  with style.canvas(path, 8, 3.4) as figure:
    of_time, of_memory = figure.subplots(1, 2)
    memory: dict[str, Any] = {'color': style.COLORS['memory'], 'marker': 'o', 'label': 'long-term memory'}
    of_time.plot(lengths, [ours[length] for length in lengths], **memory)
    of_memory.plot(lengths, [state_mib(CASE)] * len(lengths), **memory)
    for name, label in NAMES.items():
      ms = {row['at']: row['other']['median'] for row in rows if row['other_name'] == name and row['other']}
      of_time.plot(list(ms), list(ms.values()), marker='s', color=COLORS[name], label=label)
    cache = [cache_mib(CASE, length) for length in lengths]
    of_memory.plot(lengths, cache, marker='s', color=COLORS[JAX], label='keys and values')
    of_time.set_ylabel('ms per segment of 512 tokens')
    of_memory.set_ylabel('MiB that are kept')
    for axes in (of_time, of_memory):
      axes.set_xscale('log', base=2)
      axes.set_yscale('log')
      axes.set_xticks(lengths, [f'{length / 1024:g}k' for length in lengths])
      axes.set_xlabel('tokens of context')
      axes.legend()
    subtitle = f'12 heads of 64, {CASE}; a segment of 512 tokens is stored and read'
    style.headline(figure, 'One layer against exact attention over the whole past', subtitle)


def held_by_age(path: pathlib.Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
  """What signals still hold by age: one line each, with its label where it falls.

  Args:
    path: the PNG file.
    curves: of up to five, by label: increasing ages in tokens, and R² at these, which is once above one half.
  """
  palette = [style.COLORS[name] for name in ('train', 'memory', 'exchanged', 'test', 'emptied')]
  end = max(ages_a[-1] for ages_a, _ in curves.values())
  with style.canvas(path, 8, 3.6) as figure:
    axes = figure.subplots()
    for color, (label, (ages_a, held_a)) in zip(palette, curves.items(), strict=False):
      axes.plot(ages_a, held_a, color=color)
      last = int(np.flatnonzero(held_a >= 0.5)[-1])
      placed: dict[str, Any] = {'xytext': (-2, 5), 'ha': 'right'}  # Above its end: the line does not fall.
      where = (ages_a[last], held_a[last])
      if last + 1 < len(ages_a) and ages_a[last] < end / 2:
        placed = {'xytext': (5, 0), 'ha': 'left', 'va': 'center'}
        fall = slice(last, last + 2)
        where = (np.exp(np.interp(-0.5, -held_a[fall], np.log(ages_a[fall]))), 0.5)
      axes.annotate(label, where, textcoords='offset points', color=color, fontweight='bold', **placed)
    axes.set(xscale='log', xlim=(64, end), ylim=(0, 1.1), xlabel='age [tokens]', ylabel='R²')
    axes.set_xticks(ticks := [4**i for i in range(3, 11)], [f'{tick:,}' for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    subtitle = (
      'Squared correlation of the mean of the tokens within 5 % of an age with the signal, read where these '
      'tokens are. n 256, segments of 512 tokens, even sampling; computed exactly.'
    )
    style.headline(figure, 'What each contraction still holds by age', subtitle)
  return figure


def main() -> None:
  parser = argparse.ArgumentParser(description='Pictures of docs/performance.md.')
  parser.add_argument('figures', type=pathlib.Path, help='--json FILE of a run of all benchmarks')
  parser.add_argument('folder', type=pathlib.Path, help='for the pictures')
  asked = parser.parse_args()
  try:
    rows = json.loads(asked.figures.read_text())['rows']
  except (OSError, ValueError, KeyError, TypeError) as error:
    parser.error(f'{asked.figures} is not the --json FILE of a run ({error})')
  if missing := {'parts', 'against_attention'} - {row['subject'] for row in rows}:
    parser.error(f'{asked.figures} has no rows of {", ".join(sorted(missing))}; use a run of all benchmarks')
  folder = asked.folder
  step_profile(folder / 'step_profile.png', [row for row in rows if row['subject'] == 'parts'])
  of_context = [row for row in rows if row['subject'] == 'against_attention' and row['at']]
  context_length(folder / 'context_length.png', of_context)


if __name__ == '__main__':
  main()
