"""Records the ages of the tokens that a memory of nearest neighbours retrieves, for the plots."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from infformer_jax.memory.neighbours import Neighbours
from infformer_jax.records import NeighboursRecord
from infformer_jax.types import Array


class NeighboursRecorder:
  """Collects the ages that one memory retrieves over a document.

  Call `seen` inside a jitted step, `add` with its result on the host, and `record` at the end.
  """

  def __init__(self, memory: Neighbours):
    self._config, self._site = memory.config, memory.site
    self._count_a = np.zeros(0, np.int64)
    self._nearest_age_slh: list[np.ndarray] = []

  def seen(self, plots: Mapping[str, Array], ok_bsl: Array) -> Array:
    """The ages [s, l, h, j] that lane 0 retrieves, the most similar first, 0 for none."""
    ok_bslhj = plots['retrieved_ok_blhj'] & ok_bsl[..., None, None]
    return jnp.where(ok_bslhj, plots['retrieved_age_blhj'], 0)[0]

  def add(self, age_slhj: np.ndarray) -> None:
    """Adds the ages of the next chunk. Only the nearest ones and the counts of all are kept."""
    count_a = np.bincount(age_slhj.astype(np.int64).ravel(), minlength=len(self._count_a))
    count_a[: len(self._count_a)] += self._count_a
    self._count_a = count_a
    self._nearest_age_slh.append(age_slhj[..., 0])

  def record(self, num_tokens: int) -> NeighboursRecord:
    """The record of a document of `num_tokens` tokens, after all of its chunks were added."""
    age_slh = np.concatenate(self._nearest_age_slh)
    age_th = age_slh.reshape(-1, age_slh.shape[-1])[:num_tokens].astype(np.int32)
    retrieved_a = np.zeros(num_tokens + 1, np.int64)
    retrieved_a[: len(self._count_a)] = self._count_a[: num_tokens + 1]
    retrieved_a[0] = 0  # The queries of an empty memory.
    return NeighboursRecord(
      retrieved_a=retrieved_a,
      expected_a=self._expected(num_tokens),
      held_th=np.where(age_th > 0, np.arange(num_tokens)[:, None] - age_th - 1, -1),
    )

  def _expected(self, num_tokens: int) -> np.ndarray:
    """How often each age would be retrieved if every query drew as many slots evenly."""
    length, lag, heads = self._site.segment_length, self._site.lag, self._site.num_heads
    change_a = np.zeros(num_tokens + 2)
    position_t = np.arange(num_tokens)
    stop_t = np.maximum(position_t // length - lag + 1, 0) * length
    start_t = np.maximum(stop_t - self._config.length, 0)
    stored_t = stop_t - start_t
    rate_t = heads * np.minimum(stored_t, self._config.neighbours) / np.maximum(stored_t, 1)
    np.add.at(change_a, position_t - stop_t + 1, rate_t)
    np.add.at(change_a, position_t - start_t + 1, -rate_t)
    return np.cumsum(change_a)[:-1]
