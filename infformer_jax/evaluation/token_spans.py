"""Where the tokens of a document stand in a continuous memory, and how much of it each of them holds.

A write squeezes the old signal into [0, τ] and reads it at sample points: what stood at the point of index u
(0 the first, 1 the last) stands at τ u afterwards. So an edge between two tokens at x moves to τ u(x), u the
inverse of the points, interpolated linearly. This is where the samples come from, not what a regression on N
functions can still tell apart: functions are wider than a token that has become narrow.
"""

from collections.abc import Sequence

import numpy as np

from infformer_jax.core.signal import SignalSpec


def edges(spec: SignalSpec, points_wp: Sequence[np.ndarray | None]) -> list[np.ndarray]:
  """After each write, where the edges of all tokens written so far stand; increasing, from 0 to 1.

  Args:
    spec: of the signal; 'padded' positions are taken for 'plain' ones, which they nearly are.
    points_wp: where each write samples the old signal, in increasing order; None: evenly. The first has no
      old signal, and its entry is not looked at.
  Returns:
    One array [l·w + 1] for the w-th write, w from 1 on.
  """
  new_l = np.arange(1, spec.segment_length + 1) / spec.segment_length
  all_edges = [np.concatenate([[0.0], new_l])]
  index_p = np.arange(spec.num_samples + 1) / spec.num_samples
  for writes, points_p in enumerate(points_wp[1:], start=1):
    tau, old = spec.tau(writes), all_edges[-1]
    if points_p is not None:
      old = np.interp(old, np.concatenate([[0.0], points_p]), index_p)
      old[0] = 0.0  # Points drawn at 0 itself are of the first token, not before it.
    all_edges.append(np.concatenate([tau * old, tau + (1 - tau) * new_l]))
  return all_edges


def token_at(edges_e: np.ndarray, times: np.ndarray) -> np.ndarray:
  """Which position of the document stands at each of some times, int32; times outside [0, 1] are cut."""
  found = np.searchsorted(edges_e, np.clip(times, 0, 1), side='right') - 1
  return np.minimum(found, len(edges_e) - 2).astype(np.int32)
