"""The plot of a sweep's paired comparisons: what every memory changes, with both standard errors."""

from collections.abc import Sequence

import numpy as np
from etils import epath

from infformer_jax.plotting import style
from infformer_jax.results_schema import Comparison, Measure

LABELS: dict[Measure, str] = {
  'loss_nats_per_token': 'loss, all tokens\n[nats per token]',
  'loss_beyond_reach_nats_per_token': 'loss beyond the reach\n[nats per token]',
  'accuracy': 'accuracy',
}
CEILING = style.COLORS['emptied']
OTHERS = style.COLORS['memory']


def difference(names: Sequence[str], comparisons: Sequence[Comparison], path: epath.Path) -> None:
  """One panel per measure and one line per setting; the setting without a memory is at zero.

  Args:
    names: of the axes.
    comparisons: of ablation.json, not empty.
    path: the PNG file.
  """
  settings = list(dict.fromkeys(tuple(entry['values']) for entry in comparisons))
  measures = list(dict.fromkeys(entry['measure'] for entry in comparisons))
  with style.canvas(path, 7.2, 1.7 + 0.32 * len(settings)) as figure:
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for panel, measure in zip(panels, measures, strict=True):
      panel.axvline(0, color=style.INK, linewidth=0.9)
      for entry in comparisons:
        if entry['measure'] == measure and entry['difference'] is not None:
          color = CEILING if entry['is_ceiling'] else OTHERS
          place = entry['difference'], settings.index(tuple(entry['values']))
          seeds, documents = (
            np.nan if error is None else error
            for error in (entry['standard_error_over_seeds'], entry['standard_error_over_documents'])
          )
          panel.errorbar(*place, xerr=documents, color=color, linewidth=0.9, capsize=5, fmt='none')
          panel.errorbar(*place, xerr=seeds, color=color, linewidth=4.5, alpha=0.45, fmt='none')
          panel.plot(*place, 'D' if entry['is_ceiling'] else 'o', color=color, markersize=4)
      panel.set_xlabel(LABELS[measure])
      panel.locator_params(axis='x', nbins=5)
      panel.grid(visible=False, axis='y')
    panels[0].set_yticks(range(len(settings)), [', '.join(values) for values in settings])
    panels[0].set_ylim(len(settings) - 0.5, -0.5)
    panels[0].set_ylabel(', '.join(names))
    numbers = sorted({entry['num_seeds'] for entry in comparisons})
    style.headline(
      figure,
      'Difference from the model without a memory',
      f'Paired by seed; number of seeds: {" or ".join(map(str, numbers))}. Bars: standard error over seeds; '
      'thin lines: over documents. Diamond: the ceiling, the exact window with the largest gain.',
    )
