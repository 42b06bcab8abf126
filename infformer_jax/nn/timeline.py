"""Positions of a layer's past: its cache, its short-term window, and the segments that its memory gets."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from infformer_jax.core.arrays import on_last_axis
from infformer_jax.memory.recent import windows
from infformer_jax.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeline:
  """A timeline is a layer's cache followed by the segments that come after it, one token per place.

  lag 3, M = l:   cache                          segment 0   segment 1
                  [past of 0][          ][window of 0][         ][         ]
                             [past of 1][           ]
  """

  segment_length: int  # l
  short_term_length: int  # M, a multiple of l
  lag: int  # segment i is read after the write of segment i - lag; 0: nothing is written

  @property
  def cache_length(self) -> int:
    """Tokens kept between chunks: for the short-term window, and until they are written to the memory."""
    return max(self.short_term_length, self.lag * self.segment_length)

  @property
  def past(self) -> slice:
    """The past of segment 0; those of the segments after it follow, l places apart."""
    start = self.cache_length - self.lag * self.segment_length
    return slice(start, start + self.segment_length)

  @property
  def window(self) -> slice:
    """The short-term window of segment 0: the last M tokens of the cache."""
    return slice(self.cache_length - self.short_term_length, self.cache_length)

  def pasts(self, x_bt: Array, count: int) -> Array:
    """The pasts of `count` segments of a timeline: [b, t, ...] -> [b, count, l, ...]."""
    length = self.segment_length
    return windows(x_bt, start=self.past.start, size=length, stride=length, count=count)

  def windows(self, x_bt: Array, count: int) -> Array:
    """The short-term windows of `count` segments: [b, t, ...] -> [b, count, M, ...].

    Args:
      x_bt: the timeline from the start of the first window on.
      count: number of segments.
    """
    return windows(x_bt, start=0, size=self.short_term_length, stride=self.segment_length, count=count)

  def has_past(self, since: Array) -> Array:
    """Whether the document has the past of a segment, by the number of its segments before that one."""
    return since >= self.lag

  def in_document(self, since: Array) -> Array:
    """[...] -> [..., M]: which tokens of a segment's short-term window are of the same document."""
    tokens_back = self.short_term_length - np.arange(self.short_term_length)
    segments_back = (tokens_back - 1) // self.segment_length + 1
    return on_last_axis(jnp.asarray(segments_back, since.dtype), since.ndim + 1) <= since[..., None]
