"""Controls: states that are read instead of a memory's own, to measure what the memory contributes.

A view is applied between the long memory's state and its read and never changes the short-term memory. The
statistics are those of the viewed read, so that a sticky memory's later writes follow the view.
"""

import jax
import jax.numpy as jnp

from infformer_jax.memory.base import Memory, State, View, identity
from infformer_jax.types import Array


def emptied(memory: Memory, state: State) -> tuple[State, Array]:
  """An empty memory: the model without what it has written."""
  filled_b = memory.filled(state)
  return memory.reset(state, jnp.ones_like(filled_b)), jnp.ones_like(filled_b)


def exchanged(memory: Memory, state: State) -> tuple[State, Array]:
  """The memory of another lane: the states rolled by one among the filled lanes.

  An empty lane stays empty. If only one lane is filled, it reads its own state, and its ok_b is False:
  this is not a control.
  """
  filled_b = memory.filled(state)
  lanes = filled_b.shape[0]
  lane_b = jnp.arange(lanes)
  # The nearest filled lane before each lane, cyclically: the largest filled index of the lanes before it.
  twice = jnp.where(jnp.tile(filled_b, 2), jnp.arange(2 * lanes), -1)
  before_b = jax.lax.cummax(twice)[lanes + lane_b - 1] % lanes
  from_b = jnp.where(filled_b, before_b, lane_b)
  return jax.tree.map(lambda leaf: leaf[from_b], state), ~filled_b | (filled_b.sum() >= 2)


VIEWS: dict[str, View] = {'memory': identity, 'emptied': emptied, 'exchanged': exchanged}
