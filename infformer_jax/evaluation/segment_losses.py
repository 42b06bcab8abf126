"""What an evaluation keeps of every segment: sums by group of targets, of which all figures are made."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentLosses:
  """The losses of all evaluated segments, one row each; row r means the same segment in every view.

  Columns g are the groups of the split's targets (data/base.py).
  """

  document_r: np.ndarray  # the document's index in its split
  segment_r: np.ndarray  # the segment's index in its document
  tokens_rg: np.ndarray  # targets that count
  nll_nats_rg: Mapping[str, np.ndarray]  # by view, the sum over those targets
  correct_rg: Mapping[str, np.ndarray]  # by view, of how many of them the model thought most likely
  ok_r: Mapping[str, np.ndarray]  # by view; False: the view could not be given here (memory/views.py)
  # What the memory says of its own reads (Read.aux), but for losses: (sum, count) over all that was read.
  figures: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def tokens_r(self) -> np.ndarray:
    """Of all groups."""
    return self.tokens_rg.sum(-1)

  @functools.cached_property
  def nll_nats_r(self) -> Mapping[str, np.ndarray]:
    """Of all groups, by view."""
    return {view: nats_rg.sum(-1) for view, nats_rg in self.nll_nats_rg.items()}

  @functools.cached_property
  def correct_r(self) -> Mapping[str, np.ndarray]:
    """Of all groups, by view."""
    return {view: correct_rg.sum(-1) for view, correct_rg in self.correct_rg.items()}

  def of_group(self, group: int) -> 'SegmentLosses':
    """One group alone, with the segments in which something counts in it."""
    rows_r = self.tokens_rg[:, group] > 0

    def of(table_rg: np.ndarray) -> np.ndarray:
      return table_rg[rows_r, group : group + 1]

    return SegmentLosses(
      document_r=self.document_r[rows_r],
      segment_r=self.segment_r[rows_r],
      tokens_rg=of(self.tokens_rg),
      nll_nats_rg={view: of(nats_rg) for view, nats_rg in self.nll_nats_rg.items()},
      correct_rg={view: of(correct_rg) for view, correct_rg in self.correct_rg.items()},
      ok_r={view: ok_r[rows_r] for view, ok_r in self.ok_r.items()},
    )


def joined(rows: Sequence[Mapping[str, Mapping[str, Any]]], views: Sequence[str]) -> SegmentLosses:
  """One table of all steps, by document and segment, without the segments in which nothing counts.

  Args:
    rows: what each step gives of each view, with lanes and segments first (evaluation/perplexity.py).
    views: their names; the first one's documents, segments and tokens are those of all.
  """

  def column(view: str, name: str) -> np.ndarray:
    return np.concatenate([step[view][name].reshape(-1, *step[view][name].shape[2:]) for step in rows])

  document, segment, tokens = (column(views[0], name) for name in ('document', 'segment', 'tokens'))
  said = [step.get('memory', {}).get('figures', {}) for step in rows]
  order = np.lexsort((segment, document))
  order = order[tokens[order].any(-1)]
  return SegmentLosses(
    document_r=document[order],
    segment_r=segment[order],
    tokens_rg=tokens[order].astype(np.int64),
    nll_nats_rg={view: column(view, 'nll_nats')[order].astype(np.float64) for view in views},
    correct_rg={view: column(view, 'correct')[order].astype(np.int64) for view in views},
    ok_r={view: column(view, 'ok')[order] for view in views},
    figures={n: (sum(s[n][0].item() for s in said), sum(s[n][1].item() for s in said)) for n in said[0]},
  )
