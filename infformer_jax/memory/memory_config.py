"""What the configs of all kinds of memory have in common."""

import dataclasses
from typing import Literal

from infformer_jax.errors import ConfigError, check_range


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traits:
  """What the trunk and its checks need to know about a memory. `a | b` has what either has."""

  learns_writes: bool = False  # gradients of a read reach what was written, in the chunk that wrote it
  gives_slots: bool = False  # answers with `Read.slots`, which join the local softmax by age
  gated: bool = False  # answers with `Read.gated`, of which a layer can mix in only one
  mixes_all: bool = False  # a read mixes all of the past, and may only identify the document
  draws: bool = False  # `write` uses its keys
  # `write` uses `Past.received_bl`. The layer's local attention is then part of the recurrence: the trunk
  # calls `step` instead of `scan` and, after each, its attention (nn/attention_received.py).
  uses_attention: bool = False
  uses_residual: bool = False  # `write` uses `Past.residual_bld`

  def __or__(self, other: 'Traits') -> 'Traits':
    names = [field.name for field in dataclasses.fields(self)]
    return Traits(**{name: getattr(self, name) or getattr(other, name) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryConfig:
  """What all kinds have in common. Subclasses give `kind` a default and add their own fields."""

  kind: str
  layers: tuple[int, ...] | None = None  # 0-based; None: all layers, or what the kind says
  source: Literal['evicted', 'previous'] = 'evicted'  # what is written: see `lag`

  @staticmethod
  def kinds() -> dict[str, type['MemoryConfig']]:
    """The registry, for config/parsing.py: `kind` picks the dataclass."""
    from infformer_jax.memory import registry

    return registry.CONFIGS

  @property
  def traits(self) -> Traits:
    """The traits of memories with this config."""
    return Traits(learns_writes=True)

  def parts(self) -> dict[str, 'MemoryConfig']:
    """The memories in this config, by their place in a stack: '' outside of stacks, 'first_', ..."""
    return {'': self}

  def lag(self, segment_length: int, short_term_length: int) -> int:
    """The past written at segment i is segment i - lag.

    'evicted': the segment that has just left the short-term memory of M tokens, M/l + 1 (1 where M is 0);
    'previous': the segment before, so that the memory overlaps the short-term one.
    """
    return 1 if self.source == 'previous' else short_term_length // segment_length + 1

  def layers_of(self, num_layers: int) -> tuple[int, ...]:
    """The layers of a trunk that have this memory."""
    return tuple(range(num_layers)) if self.layers is None else self.layers

  def check(self, segment_length: int) -> None:
    """Raises ConfigError where this memory cannot serve segments of this length."""

  def warnings(self) -> list[str]:
    """What is allowed but probably not intended."""
    return []


def require_whole_segments(length: int, segment_length: int) -> None:
  """Raises ConfigError where a memory of `length` tokens does not hold whole segments."""
  check_range('length', length, 1)
  if length % segment_length:
    lower = max(1, length // segment_length) * segment_length
    raise ConfigError(
      f'length = {length} must be a multiple of model.segment_length = {segment_length}; '
      f'use {lower} or {lower + segment_length}'
    )
