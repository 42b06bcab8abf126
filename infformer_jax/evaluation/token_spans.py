"""The position of each token of a document in a continuous memory, and its share of the memory.

A write samples the old signal at some points and moves the samples (core/time_axis.py): what was at the
sample point of index u (0 the first, 1 the last) is where the axis moves u. An edge between two tokens at x
therefore moves to where u(x) moves, with u the inverse of the points, interpolated linearly. This follows the
samples. The regression on N functions resolves less; the functions are wider than an old token.
"""

from collections.abc import Sequence

import numpy as np

from infformer_jax.core.signal_spec import SignalSpec


def edges(spec: SignalSpec, points_wp: Sequence[np.ndarray | None]) -> list[np.ndarray]:
  """The edges of all tokens written so far, after each write: increasing to 1, from 0 or the axis' start.

  Edges beyond the horizon of a logarithmic axis are 0.

  Args:
    spec: of the signal; 'padded' positions are treated as 'plain' ones, which are nearly the same.
    points_wp: the increasing points at which each write samples the old signal; None: even sampling. The
      first entry is ignored, since the first write has no old signal.
  Returns:
    An array [l·w + 1] for the w-th write, w = 1, 2, ...
  """
  all_edges = [spec.axis.time(np.arange(spec.segment_length, -1.0, -1), 1)]
  index_p = np.arange(spec.num_samples + 1) / spec.num_samples
  for writes, points_p in enumerate(points_wp[1:], start=1):
    old = all_edges[-1]
    if points_p is not None:
      old = np.where(old > 0, np.interp(old, np.concatenate([[0.0], points_p]), index_p), 0)
    moved = np.maximum(spec.axis.moved(old, writes), 0)
    all_edges.append(np.concatenate([moved, spec.axis.new_times(writes)]))
  return all_edges


def token_at(edges_e: np.ndarray, times: np.ndarray) -> np.ndarray:
  """The position in the document at each of some times, int32; -1 in an empty part before the document.

  Times are clipped to [0, 1].
  """
  token = np.searchsorted(edges_e, np.clip(times, 0, 1), side='right') - 1
  return np.minimum(token, len(edges_e) - 2).astype(np.int32)
