"""No long memory: the baseline of comparisons."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from infformer_jax.core.pytree import pytree
from infformer_jax.memory.base import Memory, State
from infformer_jax.memory.memory_config import MemoryConfig, Traits
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment


@dataclasses.dataclass(frozen=True, kw_only=True)
class NothingConfig(MemoryConfig):
  """Only the short-term memory of model.short_term_length tokens, if any."""

  kind: Literal['none'] = 'none'

  @property
  def traits(self) -> Traits:
    return Traits()

  def parts(self) -> dict[str, MemoryConfig]:
    return {}

  def lag(self, segment_length: int, short_term_length: int) -> int:
    """Nothing is written, so no past has to be kept."""
    return 0


@pytree
class NothingState:
  """Only the number of lanes."""

  empty_b: Array


class Nothing(Memory):
  """Ignores what is written and returns an empty read."""

  def parts(self) -> dict[str, Memory]:
    return {}

  def part_states(self, state: State) -> dict[str, State]:
    return {}

  def init_state(self, batch: int, dtype: Any) -> NothingState:
    return NothingState(empty_b=jnp.zeros((batch,), bool))

  def filled(self, state: NothingState) -> Array:
    return jnp.zeros_like(state.empty_b)

  def write(
    self, state: State, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> State:
    return state

  def prepare(self, state: State, project: Project | None = None) -> PyTree:
    return None

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    return Read()
