"""Two memories side by side behind one contract: several time scales, or exact slots beside a signal."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.core.pytree import pytree
from infformer_jax.errors import ConfigError
from infformer_jax.memory.base import Memory, Site, State, View, identity
from infformer_jax.memory.memory_config import MemoryConfig, Traits
from infformer_jax.memory.none import NothingConfig
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment


@dataclasses.dataclass(frozen=True, kw_only=True)
class StackedConfig(MemoryConfig):
  """Both are written the same past (this config's `source`) and answer the same segment; stacks may nest."""

  kind: Literal['stacked'] = 'stacked'
  first: MemoryConfig = dataclasses.field(default_factory=NothingConfig)
  second: MemoryConfig = dataclasses.field(default_factory=NothingConfig)

  @property
  def traits(self) -> Traits:
    return self.first.traits | self.second.traits

  def parts(self) -> dict[str, MemoryConfig]:
    return _named(self.first.parts(), self.second.parts())

  def check(self, segment_length: int) -> None:
    if self.first.kind == self.second.kind == 'none':
      raise ConfigError(
        "first.kind = 'none' and second.kind = 'none' leave nothing to stack; set one of them, such as "
        "first.kind = 'continuous', or use kind = 'none'"
      )
    if self.first.traits.gated and self.second.traits.gated:
      raise ConfigError(
        f"first.kind = '{self.first.kind}' and second.kind = '{self.second.kind}': both memories are gated, "
        "but a layer can mix in only one; use another kind for one of them, such as 'recent'"
      )
    for name, part in (('first', self.first), ('second', self.second)):
      if part.layers is not None:
        raise ConfigError(f'{name}.layers = {part.layers} must be None; set the layers of the stack')
      if part.source != self.source and part.kind != 'none':
        raise ConfigError(f'{name}.source = {part.source!r} must be {self.source!r}, the source of the stack')
      try:
        part.check(segment_length)
      except ConfigError as error:
        raise ConfigError(f'{name}.{error}') from None

  def warnings(self) -> list[str]:
    parts = (('first', self.first), ('second', self.second))
    return [f'{name}.{warning}' for name, part in parts for warning in part.warnings()]


@pytree
class StackedState:
  """The states of the two memories."""

  first: PyTree
  second: PyTree


class Stacked(Memory):
  """The slots of both are read, added contexts are summed; only one of the two may be gated."""

  config: StackedConfig

  def __init__(self, config: StackedConfig, site: Site, *, rngs: nnx.Rngs):
    from infformer_jax.memory import registry

    super().__init__(config, site, rngs=rngs)
    # Forks, so that what the first memory draws does not change the second.
    self.first = registry.build(config.first, site, rngs=rngs.fork())
    self.second = registry.build(config.second, site, rngs=rngs.fork())

  def parts(self) -> dict[str, Memory]:
    return _named(self.first.parts(), self.second.parts())

  def part_states(self, state: StackedState) -> dict[str, State]:
    return _named(self.first.part_states(state.first), self.second.part_states(state.second))

  def constants(self) -> dict[str, PyTree]:
    return self.first.constants() | self.second.constants()

  def use(self, constants: Mapping[str, PyTree]) -> None:
    self.first.use(constants)
    self.second.use(constants)

  def aux_weights(self) -> dict[str, float]:
    return _named(self.first.aux_weights(), self.second.aux_weights())

  def init_state(self, batch: int, dtype: Any) -> StackedState:
    return StackedState(
      first=self.first.init_state(batch, dtype), second=self.second.init_state(batch, dtype)
    )

  def filled(self, state: StackedState) -> Array:
    return self.first.filled(state.first) | self.second.filled(state.second)

  def reset(self, state: StackedState, new_doc_b: Array) -> StackedState:
    return StackedState(
      first=self.first.reset(state.first, new_doc_b), second=self.second.reset(state.second, new_doc_b)
    )

  def write(
    self, state: StackedState, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> StackedState:
    first_b, second_b = _split(key_b)
    return StackedState(
      first=self.first.write(state.first, past, project, key_b=first_b),
      second=self.second.write(state.second, past, project, key_b=second_b),
    )

  def prepare(self, state: StackedState, project: Project | None = None) -> PyTree:
    return self.first.prepare(state.first, project), self.second.prepare(state.second, project)

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    return _joined(self.first.answer(prepared[0], segment), self.second.answer(prepared[1], segment))

  def observe(self, state: StackedState, stats: PyTree) -> StackedState:
    return StackedState(
      first=self.first.observe(state.first, stats[0]), second=self.second.observe(state.second, stats[1])
    )

  def scan(
    self,
    state: StackedState,
    segments: Segment,
    pasts: Past,
    new_doc_bs: Array,
    project: Project | None = None,
    *,
    keys_bs: Array | None = None,
    view: View = identity,
  ) -> tuple[StackedState, Read]:
    """Each memory scans the chunk on its own."""

    def through(memory: Memory, state: PyTree, keys_bs: Array | None) -> tuple[PyTree, Read]:
      return memory.scan(state, segments, pasts, new_doc_bs, project, keys_bs=keys_bs, view=view)

    keys = _split(keys_bs)
    first, first_read = through(self.first, state.first, keys[0])
    second, second_read = through(self.second, state.second, keys[1])
    return StackedState(first=first, second=second), _joined(first_read, second_read)


def _named(first: dict, second: dict) -> dict:
  """Both dicts in one, with 'first_' and 'second_' before the names."""
  return {f'first_{k}': v for k, v in first.items()} | {f'second_{k}': v for k, v in second.items()}


def _split(keys: Array | None) -> tuple[Array | None, Array | None]:
  """Independent keys for the two, of any shape."""
  if keys is None:
    return None, None

  def fold(number: int) -> Array:
    each: Callable[..., Array] = lambda key: jax.random.fold_in(key, number)  # noqa: E731
    for _ in range(keys.ndim):
      each = jax.vmap(each)
    return each(keys)

  return fold(0), fold(1)


def _joined(first: Read, second: Read) -> Read:
  added = [read.added_bld for read in (first, second) if read.added_bld is not None]
  oks = [read.ok_b for read in (first, second) if read.ok_b is not None]
  return Read(
    slots=first.slots + second.slots,
    gated=second.gated if first.gated is None else first.gated,
    added_bld=sum(added[1:], start=added[0]) if added else None,
    stats=(first.stats, second.stats),
    aux=_named(first.aux, second.aux),
    plots=_named(first.plots, second.plots),
    ok_b=jnp.logical_and(*oks) if oks else None,
  )
