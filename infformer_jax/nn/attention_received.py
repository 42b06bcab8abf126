"""The attention that every token of the short-term window receives, for memories that choose by it.

Such a memory's writes depend on the attention of earlier segments, which depends on its earlier writes: the
layer's local attention becomes part of the recurrence. `received_bt` is aligned with the layer's cache
(BlockState).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from infformer_jax.memory.base import Memory, State, View, by_lane
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment

Attend = Callable[[Segment, PyTree, Read], tuple[Array, Array]]
"""(segment, window, the memory's answer) -> attended [b, l, d], what the window's tokens received [b, w]."""


def received(weights_bhlm: Array, ok_bl: Array, width: int) -> Array:
  """[b, w]: the weights of the first `width` keys, summed over heads and real queries; no gradient."""
  weights_bhlm = jax.lax.stop_gradient(weights_bhlm[..., :width])
  return jnp.where(ok_bl[:, None, :, None], weights_bhlm, 0).sum(axis=(1, 2))


def added(received_bt: Array, gained_bw: Array) -> Array:
  """What the last w tokens of a timeline have received by now."""
  return received_bt.at[:, received_bt.shape[1] - gained_bw.shape[1] :].add(
    gained_bw.astype(received_bt.dtype)
  )


def opened(received_bt: Array, length: int) -> Array:
  """The timeline with a new segment of tokens, which have received nothing."""
  return jnp.pad(received_bt, ((0, 0), (0, length)))


def scan(
  memory: Memory,
  attend: Attend,
  state: tuple[State, Array],
  segments: Segment,
  windows: PyTree,
  pasts: Past,
  new_doc_bs: Array,
  project: Project,
  *,
  keys_bs: Array | None,
  view: View,
) -> tuple[tuple[State, Array], Read, Array]:
  """`Memory.scan` with the layer's attention inside; the arguments with s as their second axis.

  Args:
    state: the memory's, and received_bt.
    windows: what `attend` needs besides.
  Returns:
    The states, the reads as of `Memory.scan`, and attended_bsld.
  """
  length = segments.ok_bl.shape[2]
  first = state[1].shape[1] - memory.site.lag * length

  def step(state: tuple[State, Array], xs: Any) -> tuple[tuple[State, Array], tuple[Read, Array]]:
    inner, received_bt = state
    segment, window, past, new_doc_b, key_b = xs
    past = dataclasses.replace(past, received_bl=received_bt[:, first : first + length])
    inner, read = memory.step(inner, segment, past, new_doc_b, project, key_b=key_b, view=view)
    attended_bld, gained_bw = attend(segment, window, read)
    received_bt = added(opened(received_bt, length), gained_bw)[:, length:]
    return (inner, received_bt), (read, attended_bld)

  xs = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), (segments, windows, pasts, new_doc_bs, keys_bs))
  state, (reads, attended_sbld) = jax.lax.scan(step, state, xs)
  return state, by_lane(reads), jnp.moveaxis(attended_sbld, 0, 1)
