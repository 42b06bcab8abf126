"""The position of each token of a document in a continuous memory, and its share of the memory.

A write contracts the old signal into [0, τ] by sampling it at some points: what was at the sample point of
index u (0 the first, 1 the last) is at τ u after the write. An edge between two tokens at x therefore moves
to τ u(x), where u is the inverse of the points, interpolated linearly. This follows the samples. The
regression on N functions resolves less; the functions are wider than an old token.
"""

from collections.abc import Sequence

import numpy as np

from infformer_jax.core.signal_spec import SignalSpec, even_points, new_times


def edges(spec: SignalSpec, points_wp: Sequence[np.ndarray | None]) -> list[np.ndarray]:
  """The edges of all tokens written so far, after each write; increasing from 0 to 1.

  Args:
    spec: of the signal; 'padded' positions are treated as 'plain' ones, which are nearly the same.
    points_wp: the increasing points at which each write samples the old signal; None: even sampling. The
      first entry is ignored, since the first write has no old signal.
  Returns:
    An array [l·w + 1] for the w-th write, w = 1, 2, ...
  """
  all_edges = [np.concatenate([[0.0], even_points(spec.segment_length)])]
  index_p = np.arange(spec.num_samples + 1) / spec.num_samples
  for writes, points_p in enumerate(points_wp[1:], start=1):
    old = all_edges[-1]
    if points_p is not None:
      old = np.interp(old, np.concatenate([[0.0], points_p]), index_p)
      old[0] = 0.0  # A point at 0 belongs to the first token.
    all_edges.append(np.concatenate([spec.tau(writes) * old, new_times(spec, writes)]))
  return all_edges


def token_at(edges_e: np.ndarray, times: np.ndarray) -> np.ndarray:
  """The position in the document at each of some times, int32; times are clipped to [0, 1]."""
  token = np.searchsorted(edges_e, np.clip(times, 0, 1), side='right') - 1
  return np.minimum(token, len(edges_e) - 2).astype(np.int32)
