"""No long memory: what the others are compared with."""

import dataclasses
from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from infformer_jax.core.pytree import pytree
from infformer_jax.memory.base import Memory, MemoryConfig, State
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment


@dataclasses.dataclass(frozen=True, kw_only=True)
class NothingConfig(MemoryConfig):
  """Only the short-term memory of model.short_term_length tokens, if any."""

  kind: Literal['none'] = 'none'
  learns_writes: ClassVar[bool] = False

  def lag(self, segment_length: int, short_term_length: int) -> int:
    """Nothing is written, so that no past has to be kept for it."""
    return 0


@pytree
class NothingState:
  """Nothing, for every lane."""

  empty_b: Array


class Nothing(Memory):
  """Takes everything and answers nothing."""

  def init_state(self, batch: int, dtype: Any) -> NothingState:
    return NothingState(empty_b=jnp.zeros((batch,), bool))

  def filled(self, state: NothingState) -> Array:
    return jnp.zeros_like(state.empty_b)

  def write(self, state: State, past: Past, project: Project, *, key_b: Array | None = None) -> State:
    return state

  def prepare(self, state: State, project: Project) -> PyTree:
    return None

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    return Read()
