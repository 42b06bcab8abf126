"""Plots of the ages of the tokens that a memory retrieves."""

from collections.abc import Mapping

import numpy as np
from etils import epath
from matplotlib.figure import Figure

from infformer_jax.plotting import style
from infformer_jax.records import NeighboursRecord

BINS_PER_DOUBLING = 2


def ages(neighbours: Mapping[str, NeighboursRecord], path: epath.PathLike) -> Figure:
  """The ages of the tokens that all queries of one document retrieve; one panel per layer, on a log scale.

  Args:
    neighbours: by layer.
    path: the PNG file.
  """
  counts = [a for each in neighbours.values() for a in (each.retrieved_a, each.expected_a)]
  reached = [np.flatnonzero(count_a > 1e-6 * count_a.max()) for count_a in counts]
  largest = max(2, *(int(ages.max(initial=2)) for ages in reached))
  doublings = int(np.ceil(np.log2(largest + 1)))
  edges = np.unique(np.rint(2.0 ** (np.arange(doublings * BINS_PER_DOUBLING + 1) / BINS_PER_DOUBLING)))
  with style.canvas(path, 7.2, 1.3 + 2.2 * len(neighbours)) as figure:
    panels = figure.subplots(len(neighbours), sharex=True, squeeze=False)[:, 0]
    for panel, (name, each) in zip(panels, neighbours.items(), strict=True):
      all_ages = np.arange(len(each.retrieved_a))
      nearest_th = np.arange(len(each.held_th))[:, None] - each.held_th - 1
      nearest_a = np.bincount(nearest_th[each.held_th >= 0], minlength=len(all_ages))[: len(all_ages)]
      panel.stairs(
        _shares(all_ages, each.retrieved_a, edges), edges, fill=True, alpha=0.35, label='retrieved',
        color=style.COLORS['memory'],
      )  # fmt: skip
      panel.stairs(
        _shares(all_ages, nearest_a, edges), edges, label='the most similar', linewidth=1.6,
        color=style.COLORS['memory'],
      )  # fmt: skip
      panel.stairs(
        _shares(all_ages, each.expected_a, edges), edges, label='if drawn evenly\nfrom all stored',
        color=style.COLORS['emptied'], linestyle=(0, (4, 2)), linewidth=1.3,
      )  # fmt: skip
      panel.set(ylabel='share [%]', title=name, xscale='log', xlim=(edges[0], edges[-1]))
      panel.set_xscale('log', base=2)
    ticks = 2 ** np.arange(0, doublings + 1, max(1, doublings // 8))
    panels[-1].set_xticks(ticks, [f'{tick:,}' for tick in ticks])
    panels[-1].minorticks_off()
    panels[-1].set_xlabel('age [tokens]')
    style.legend_beside(panels[0])
    style.headline(
      figure,
      'Age of what the neighbours retrieve',
      'All heads and tokens of one document. Ages above the dashed line are retrieved more often than by '
      'chance.',
    )
  return figure


def _shares(all_ages: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
  """The percentage of all counts in each bin."""
  binned = np.histogram(all_ages, edges, weights=counts)[0]
  return 100 * binned / max(binned.sum(), 1e-9)
