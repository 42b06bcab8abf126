"""Records a continuous memory for the plots: where its heads read, and the share of each token."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import sticky
from infformer_jax.core.pytree import pytree
from infformer_jax.evaluation import token_spans
from infformer_jax.memory.continuous import PLOT_BINS, Continuous
from infformer_jax.records import ContinuousRecord, SharesRecord
from infformer_jax.types import Array, HostArray

MOMENTS = 4


@pytree
class Reads:
  """The reads of consecutive segments of one lane."""

  density_shj: HostArray  # mean over tokens; 1 is uniform; NaN while the memory is empty
  histogram_sj: HostArray | None  # mean over heads and tokens; None: even sampling
  mu_shl: HostArray | None  # the location of each density; None: no location, or several


class ContinuousRecorder:
  """Collects the reads of one memory over a document.

  Call `seen` inside a jitted step, `add` with its result on the host, and `record` at the end.
  """

  def __init__(self, memory: Continuous):
    self._config, self._site, self._spec = memory.config, memory.site, memory.spec
    self._chunks: list[Reads] = []

  def seen(self, plots: Mapping[str, Array], ok_bsl: Array) -> Reads:
    """The reads of lane 0, from the memory's `Read.plots` of a chunk."""
    counts_bs = jnp.where(plots['ok_b'], ok_bsl.sum(-1), jnp.nan)
    histogram_bsj = None
    if self._config.sampling != 'even':
      histogram_bsj = plots['histogram_bj'] / (counts_bs * self._site.num_heads)[..., None]
    return jax.tree.map(
      lambda a_bs: a_bs[0],
      Reads(
        density_shj=PLOT_BINS * plots['masses_bhj'] / counts_bs[..., None, None],
        histogram_sj=histogram_bsj,
        mu_shl=plots.get('mu_bhl'),
      ),
    )

  def add(self, reads: Reads) -> None:
    """Adds the reads of the next chunk."""
    self._chunks.append(reads)

  def record(self, num_tokens: int) -> ContinuousRecord:
    """The record of a document of `num_tokens` tokens, after all of its chunks were added."""
    num_segments = -(-num_tokens // self._site.segment_length)
    reads = jax.tree.map(lambda *chunks: np.concatenate(chunks)[:num_segments], *self._chunks)
    held_th, shares, edges_w = None, None, []
    num_writes = num_segments - self._site.lag
    if num_writes > 0:
      points_wp = self._points(reads, num_writes)
      edges_w = token_spans.edges(self._spec, points_wp)
      held_th = self._held(reads, edges_w)[:num_tokens]
      if self._config.sampling != 'even':
        shares = self._shares(edges_w, num_tokens)
    return ContinuousRecord(
      density_shj=reads.density_shj,
      age_se=self._ages(num_segments, edges_w),
      histogram_sj=reads.histogram_sj,
      held_th=held_th,
      shares=shares,
    )

  def _ages(self, num_segments: int, edges_w: list[np.ndarray]) -> np.ndarray:
    """The ages at the edges of the bins when each segment is read, of the tokens that are there."""
    time_e = np.linspace(0, 1, PLOT_BINS + 1)
    age_se = np.full((num_segments, PLOT_BINS + 1), np.nan)
    for segment, edges in enumerate(edges_w, start=self._site.lag):
      age_se[segment] = np.interp(time_e, edges, np.arange(len(edges))[::-1], left=np.nan)
    return age_se

  def _points(self, reads: Reads, num_writes: int) -> list[np.ndarray | None]:
    """Where each write samples the old signal; None: evenly."""
    if reads.histogram_sj is None:
      return [None] * num_writes
    lag = self._site.lag  # The write at segment i samples by the reads of segment i - 1.
    histogram_wj = jnp.asarray(np.nan_to_num(reads.histogram_sj[lag - 1 : lag - 1 + num_writes]))
    if self._config.sampling == 'edges':
      return list(np.asarray(sticky.left_edge_points(histogram_wj, self._spec.num_samples)))
    start_w = self._spec.axis.start(jnp.arange(num_writes), histogram_wj.dtype)
    points_wp = sticky.points(histogram_wj, self._spec.num_samples, start_b=start_w)
    return list(np.asarray(self._spec.axis.limited(points_wp)))

  def _held(self, reads: Reads, edges_w: list[np.ndarray]) -> np.ndarray:
    """The token that each head reads [t, h]: at the location of its density or, if None, at its mode."""
    density_shj, lag = reads.density_shj, self._site.lag
    num_segments, num_heads, num_bins = density_shj.shape
    shape = (num_segments, self._site.segment_length, num_heads)
    if reads.mu_shl is None:
      mode_sh = (np.nan_to_num(density_shj).argmax(-1) + 0.5) / num_bins
      time_slh = np.broadcast_to(mode_sh[:, None], shape)
    else:
      time_slh = np.swapaxes(reads.mu_shl, 1, 2)
    held_slh = np.full(shape, -1, np.int32)
    for write, edges_e in enumerate(edges_w):
      held_slh[write + lag] = np.maximum(token_spans.token_at(edges_e, time_slh[write + lag]) - 1, -1)
    return held_slh.reshape(-1, num_heads)

  def _shares(self, edges_w: list[np.ndarray], num_tokens: int) -> SharesRecord:
    """The shares of the tokens at some moments, and those with even sampling."""
    num_writes = len(edges_w)
    moments = np.unique(np.linspace(0, num_writes, MOMENTS + 1).astype(int)[1:])
    moments = moments[moments > 0]
    even_w = token_spans.edges(self._spec, [None] * num_writes)
    return SharesRecord(
      moment_m=moments * self._site.segment_length,
      share_mt=np.stack([_share_t(edges_w[write - 1], num_tokens) for write in moments]),
      even_share_mt=np.stack([_share_t(even_w[write - 1], num_tokens) for write in moments]),
    )


def _share_t(edges_e: np.ndarray, num_tokens: int) -> np.ndarray:
  """The share of each token. Token t is at position t + 1, after BOS."""
  share_t = np.zeros(num_tokens, np.float32)
  share_t[: len(edges_e) - 2] = np.diff(edges_e)[1:]
  return share_t
