"""The attention that every token of a layer receives, for memories that select tokens by it.

The writes of such a memory depend on the attention of earlier segments, which depends on its earlier writes:
the layer's local attention becomes part of the recurrence.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from infformer_jax.core.pytree import pytree
from infformer_jax.memory.base import Memory, State, View, by_lane
from infformer_jax.nn.timeline import Timeline
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment

Attend = Callable[[PyTree, Read], tuple[Array, Array]]
"""(inputs of a segment's attention, the memory's answer) -> attended [b, l, d], received [b, M + l]."""


@pytree
class ReceivedAttention:
  """The weights that tokens have received so far as keys, summed over heads and real queries."""

  sum_bt: Array  # for every token of the layer's cache and, in an open segment, of that segment

  def past(self, timeline: Timeline) -> Array:
    """`Past.received_bl` for the segment that follows the cache."""
    return self.sum_bt[:, timeline.past]

  def extend(self, length: int) -> 'ReceivedAttention':
    """With a new segment of tokens, which have received nothing."""
    return ReceivedAttention(sum_bt=jnp.pad(self.sum_bt, ((0, 0), (0, length))))

  def accumulate(self, received_bw: Array) -> 'ReceivedAttention':
    """With what the last w tokens have received (core/attention.py `sum_received`)."""
    start = self.sum_bt.shape[1] - received_bw.shape[1]
    return ReceivedAttention(sum_bt=self.sum_bt.at[:, start:].add(received_bw.astype(self.sum_bt.dtype)))

  def close(self, length: int) -> 'ReceivedAttention':
    """The cache after a segment: without the oldest `length` tokens."""
    return ReceivedAttention(sum_bt=self.sum_bt[:, length:])


def init(memory: Memory, timeline: Timeline, batch: int) -> ReceivedAttention | None:
  """That of an empty cache; None where the memory does not use it."""
  if not memory.traits.uses_attention:
    return None
  return ReceivedAttention(sum_bt=jnp.zeros((batch, timeline.cache_length), memory.site.state_dtype))


def scan(
  memory: Memory,
  attend: Attend,
  state: tuple[State, ReceivedAttention],
  segments: Segment,
  local: PyTree,
  pasts: Past,
  new_doc_bs: Array,
  project: Project,
  *,
  timeline: Timeline,
  keys_bs: Array | None,
  view: View,
) -> tuple[tuple[State, ReceivedAttention], Read, Array]:
  """`Memory.scan` with the layer's attention inside; the arguments with s as their second axis.

  Args:
    state: the memory's, and what the cached tokens have received.
    local: the first argument of `attend`.
  Returns:
    The states, the reads as of `Memory.scan`, and attended_bsld.
  """
  length = timeline.segment_length

  def step(
    state: tuple[State, ReceivedAttention], xs: Any
  ) -> tuple[tuple[State, ReceivedAttention], tuple[Read, Array]]:
    inner, received = state
    segment, local, past, new_doc_b, key_b = xs
    past = dataclasses.replace(past, received_bl=received.past(timeline))
    inner, read = memory.step(inner, segment, past, new_doc_b, project, key_b=key_b, view=view)
    attended_bld, received_bw = attend(local, read)
    return (inner, received.extend(length).accumulate(received_bw).close(length)), (read, attended_bld)

  xs = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), (segments, local, pasts, new_doc_bs, keys_bs))
  state, (reads, attended_sbld) = jax.lax.scan(step, state, xs)
  return state, by_lane(reads), jnp.moveaxis(attended_sbld, 0, 1)
