"""The picture of docs/results.md on passkeys: accuracy against distance, from the CSV file beside it.

python -m tests.benchmarks.recall_distance docs
"""

import argparse
import csv
import pathlib
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from infformer_jax.plotting import style

LABELS = {
  'none': 'none',
  'continuous_even': 'τ .75, even',
  'continuous': 'τ .75, sticky (default)',
  'continuous_log_even': 'logarithmic, even',
  'continuous_log': 'logarithmic, sticky',
  'recent_8x': 'ceiling: exact window of 512 tokens (`recent_8x`)',
}
"""Settings of the sweep and their names in docs/results.md, in the order of its table."""

COLORS = ('train', 'exchanged', 'memory', 'emptied', 'test')
WHOLE = '65'  # segments of a document in the last stage; the CSV also has an earlier one.
GUESSING = 0.1  # ten digits


def recall_distance(path: pathlib.Path, rows: Sequence[Mapping[str, str]]) -> Figure:
  """One line per memory, with bars of one standard deviation over seeds.

  Args:
    path: the PNG file.
    rows: of recall_passkey.csv, with all memories of `LABELS`, each with two seeds or more.
  """
  accuracies: dict[tuple[str, int], list[float]] = defaultdict(list)
  for row in rows:
    if row['segments'] == WHOLE:
      accuracies[row['memory'], int(row['distance'])].append(float(row['accuracy']))
  distances = sorted({distance for _, distance in accuracies})
  palette = [*(style.COLORS[name] for name in COLORS), style.INK]
  with style.canvas(path, 8, 3.8) as figure:
    axes = figure.subplots()
    axes.axhline(GUESSING, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
    for i, (memory, label) in enumerate(LABELS.items()):
      values = [accuracies[memory, distance] for distance in distances]
      shift = 2 ** (0.045 * (i - (len(LABELS) - 1) / 2))  # Side by side, so that no bar hides another.
      line: dict[str, Any] = {'color': palette[i], 'marker': style.MARKERS[i], 'linewidth': 1.3, 'capsize': 2}
      axes.errorbar(
        [distance * shift for distance in distances],
        [statistics.fmean(seeds) for seeds in values],
        [statistics.stdev(seeds) for seeds in values],
        label=textwrap.fill(label.replace('`', ''), 25),
        **line,
        **style.OPEN | {'markersize': 5},
      )
    axes.set(ylim=(-0.03, 1.05), ylabel='accuracy', xlabel='distance [segments of 8 tokens]')
    axes.set_xscale('log', base=2)
    axes.set_xticks(distances, [str(distance) for distance in distances])
    style.legend_beside(axes, 'memory')
    numbers = sorted({len(seeds) for seeds in accuracies.values()})
    subtitle = (
      f'Documents of {WHOLE} segments, window of 8 to 16 tokens. Bars: standard deviation over '
      f'{" or ".join(map(str, numbers))} seeds. Dotted: guessing.'
    )
    style.headline(figure, 'Accuracy against distance', subtitle)
  return figure


def main() -> None:
  parser = argparse.ArgumentParser(description='The picture of docs/results.md on passkeys.')
  parser.add_argument('folder', type=pathlib.Path, help='with recall_passkey.csv, and for the picture')
  folder = parser.parse_args().folder
  try:
    with (folder / 'recall_passkey.csv').open(encoding='utf-8', newline='') as file:
      rows = list(csv.DictReader(file))
  except OSError as error:
    parser.error(f'{folder} has no recall_passkey.csv ({error}); use the folder docs')
  missing = LABELS.keys() - {row.get('memory') for row in rows if row.get('segments') == WHOLE}
  if missing:
    parser.error(
      f'{folder / "recall_passkey.csv"} has no rows of {WHOLE} segments of {", ".join(sorted(missing))}'
    )
  recall_distance(folder / 'recall_distance.png', rows)


if __name__ == '__main__':
  main()
