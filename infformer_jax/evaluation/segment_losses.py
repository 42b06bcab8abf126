"""The sums that an evaluation keeps for every segment and group of targets; all figures follow from them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentLosses:
  """The losses of all evaluated segments, one per row; row r is the same segment in every view.

  Columns g are the groups of the split's targets (data/base.py).
  """

  document_r: np.ndarray  # the document's index in its split
  segment_r: np.ndarray  # the segment's index in its document
  tokens_rg: np.ndarray  # targets that count
  unk_rg: np.ndarray  # the number of them that are <unk>
  nll_nats_rg: Mapping[str, np.ndarray]  # by view, the sum over these targets
  correct_rg: Mapping[str, np.ndarray]  # by view, the number of them that were the most likely token
  ok_r: Mapping[str, np.ndarray]  # by view; False: the view does not exist here (memory/views.py)
  # Metrics of the reads (Read.aux without losses): (sum, count) over all tokens read.
  figures: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def tokens_r(self) -> np.ndarray:
    """Summed over groups."""
    return self.tokens_rg.sum(-1)

  @functools.cached_property
  def nll_nats_r(self) -> Mapping[str, np.ndarray]:
    """Summed over groups, by view."""
    return {view: nats_rg.sum(-1) for view, nats_rg in self.nll_nats_rg.items()}

  @functools.cached_property
  def correct_r(self) -> Mapping[str, np.ndarray]:
    """Summed over groups, by view."""
    return {view: correct_rg.sum(-1) for view, correct_rg in self.correct_rg.items()}

  def of_group(self, group: int) -> 'SegmentLosses':
    """One group alone, restricted to segments with targets in this group."""
    rows_r = self.tokens_rg[:, group] > 0

    def column(table_rg: np.ndarray) -> np.ndarray:
      return table_rg[rows_r, group : group + 1]

    return SegmentLosses(
      document_r=self.document_r[rows_r],
      segment_r=self.segment_r[rows_r],
      tokens_rg=column(self.tokens_rg),
      unk_rg=column(self.unk_rg),
      nll_nats_rg={view: column(nats_rg) for view, nats_rg in self.nll_nats_rg.items()},
      correct_rg={view: column(correct_rg) for view, correct_rg in self.correct_rg.items()},
      ok_r={view: ok_r[rows_r] for view, ok_r in self.ok_r.items()},
    )


def joined(rows: Sequence[Mapping[str, Mapping[str, Any]]], views: Sequence[str]) -> SegmentLosses:
  """One table of all steps, ordered by document and segment, without segments that have no targets.

  Args:
    rows: the results of each step for each view, with lanes and segments first (evaluation/perplexity.py).
    views: their names; documents, segments, tokens and <unk> are taken from the first.
  """

  def column(view: str, name: str) -> np.ndarray:
    return np.concatenate([step[view][name].reshape(-1, *step[view][name].shape[2:]) for step in rows])

  document, segment, tokens, unk = (
    column(views[0], name) for name in ('document', 'segment', 'tokens', 'unk')
  )
  figures = [step.get('memory', {}).get('figures', {}) for step in rows]
  order = np.lexsort((segment, document))
  order = order[tokens[order].any(-1)]
  return SegmentLosses(
    document_r=document[order],
    segment_r=segment[order],
    tokens_rg=tokens[order].astype(np.int64),
    unk_rg=unk[order].astype(np.int64),
    nll_nats_rg={view: column(view, 'nll_nats')[order].astype(np.float64) for view in views},
    correct_rg={view: column(view, 'correct')[order].astype(np.int64) for view in views},
    ok_r={view: column(view, 'ok')[order] for view in views},
    figures={name: _total([step[name] for step in figures]) for name in figures[0]},
  )


def _total(pairs: Sequence[tuple[Any, Any]]) -> tuple[float, float]:
  """Adds up (sum, count) pairs."""
  return sum(total.item() for total, _ in pairs), sum(count.item() for _, count in pairs)
