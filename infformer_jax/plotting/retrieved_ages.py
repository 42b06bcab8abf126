"""Plots of memories that retrieve: how old it is what they find."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from infformer_jax.plotting import style

BINS_PER_DOUBLING = 2


def ages(
  retrieved_a: Mapping[str, np.ndarray],
  expected_a: Mapping[str, np.ndarray],
  held_th: Mapping[str, np.ndarray],
  path: str | Path,
) -> Figure:
  """How old it is what queries retrieve, over one document; one panel per layer, ages on a log scale.

  Args:
    retrieved_a: by layer, how often each age in tokens was retrieved, all heads and real queries.
    expected_a: the same, had each been drawn evenly from all that was stored.
    held_th: by layer, the most similar token that each head found for each token; -1: none.
    path: the PNG file.
  """
  layers = list(retrieved_a)
  reached = [np.flatnonzero(a > 1e-6 * a.max()) for a in (*retrieved_a.values(), *expected_a.values())]
  largest = max(2, *(int(ages.max(initial=2)) for ages in reached))
  doublings = int(np.ceil(np.log2(largest + 1)))
  edges = np.unique(np.rint(2.0 ** (np.arange(doublings * BINS_PER_DOUBLING + 1) / BINS_PER_DOUBLING)))
  with style.canvas(path, 7.2, 1.3 + 2.2 * len(layers)) as figure:
    panels = figure.subplots(len(layers), sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, layers, strict=True):
      all_ages = np.arange(len(retrieved_a[name]))
      nearest = np.arange(len(held_th[name]))[:, None] - held_th[name] - 1
      nearest_a = np.bincount(nearest[held_th[name] >= 0], minlength=len(all_ages))[: len(all_ages)]
      panel.stairs(
        _shares(all_ages, retrieved_a[name], edges), edges, fill=True, alpha=0.35, label='retrieved',
        color=style.COLORS['memory'],
      )  # fmt: skip
      panel.stairs(
        _shares(all_ages, nearest_a, edges), edges, label='the most similar', linewidth=1.6,
        color=style.COLORS['memory'],
      )  # fmt: skip
      panel.stairs(
        _shares(all_ages, expected_a[name], edges), edges, label='if drawn evenly\nfrom all stored',
        color=style.COLORS['emptied'], linestyle=(0, (4, 2)), linewidth=1.3,
      )  # fmt: skip
      panel.set(ylabel='share of them [%]', title=name, xscale='log', xlim=(edges[0], edges[-1]))
      panel.set_xscale('log', base=2)
    ticks = 2 ** np.arange(0, doublings + 1, max(1, doublings // 8))
    panels[-1].set_xticks(ticks, [f'{tick:,}' for tick in ticks])
    panels[-1].minorticks_off()
    panels[-1].set_xlabel('age of what is retrieved [tokens]')
    style.legend_beside(panels[0])
    style.headline(
      figure,
      'How old it is what the neighbours retrieve',
      'All heads and tokens of one document. Above the dashed line an age is sought after.',
    )
  return figure


def _shares(all_ages: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
  """Percent of all counts in each bin."""
  binned = np.histogram(all_ages, edges, weights=counts)[0]
  return 100 * binned / max(binned.sum(), 1e-9)
