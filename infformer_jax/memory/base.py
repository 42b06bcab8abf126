"""The memory contract. Read this file first.

A memory is an NNX module: its parameters are its own, its mathematics is in core/, its state is an argument
and a result. At segment i of a document it receives the past that became its own (segment i - lag), then
answers: *write, then read*. The state is one pytree whose every leaf has lanes first: rows are independent.

A layer takes in each kind of `Read` in its own way: `added_bld` is added to its output, after W_o; `slots`
are more keys and values of its local softmax, where ok_bm, at distances offset + age; `gated` is mixed with
that softmax's result before W_o (core/attention.py `mixed`). README has a layer that does the last two.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.errors import ConfigError
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment

State = PyTree
View = Callable[['Memory', State], tuple[State, Array]]
"""Stands between the state and the read: (memory, state) -> (state to read, ok_b); see views.py."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
  """Where a memory sits: the sizes of the layer that it serves."""

  d_model: int
  num_heads: int
  head_dim: int
  segment_length: int  # l, tokens
  lag: int = 1  # the past written at segment i is segment i - lag
  param_dtype: Any = jnp.float32
  num_kv_heads: int | None = None  # heads of the layer's keys and values; None: num_heads

  @property
  def kv_heads(self) -> int:
    """Heads of what `project` gives; each serves num_heads / kv_heads consecutive heads."""
    return self.num_kv_heads or self.num_heads

  @property
  def state_dtype(self) -> Any:
    """What accumulates over segments is never narrower than float32, whatever the activations are."""
    return jnp.promote_types(jnp.float32, self.param_dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryConfig:
  """What every kind of memory has; the registry adds each kind's own fields."""

  learns_writes: ClassVar[bool] = True
  """Whether gradients of a read reach what was written, in the chunk that wrote it."""

  gives_slots: ClassVar[bool] = False
  """Whether what it holds joins the local softmax, by age."""

  gated: ClassVar[bool] = False
  """Whether it answers with `Read.gated`, of which a layer can mix in only one."""

  mixes_all: ClassVar[bool] = False
  """Whether a read mixes all of the past, so that it may say no more than which document this is."""

  kind: str
  layers: tuple[int, ...] | None = None  # 0-based; None: all layers, or what the kind says
  source: Literal['evicted', 'previous'] = 'evicted'  # what is written: see `lag`

  @staticmethod
  def kinds() -> dict[str, type['MemoryConfig']]:
    """The registry, for config/parsing.py: `kind` picks the dataclass."""
    from infformer_jax.memory import registry

    return registry.CONFIGS

  def lag(self, segment_length: int, short_term_length: int) -> int:
    """The past written at segment i is segment i - lag.

    'evicted': what the short-term memory of M tokens has just let go, M/l + 1 (1 where there is none);
    'previous': the segment before, so that the memory overlaps the short-term one.
    """
    return 1 if self.source == 'previous' else short_term_length // segment_length + 1

  def layers_of(self, num_layers: int) -> tuple[int, ...]:
    """The layers of a trunk that have this memory."""
    return tuple(range(num_layers)) if self.layers is None else self.layers

  def check(self, segment_length: int) -> None:
    """Raises ConfigError where this memory cannot serve segments of this length."""

  def warnings(self) -> list[str]:
    """What is allowed and perhaps not meant."""
    return []


def require_whole_segments(length: int, segment_length: int) -> None:
  """Raises ConfigError where a memory of `length` tokens does not hold whole segments."""
  if length < 1 or length % segment_length:
    lower = max(1, length // segment_length) * segment_length
    raise ConfigError(
      f'length = {length} is not a multiple of model.segment_length = {segment_length}; '
      f'use {lower} or {lower + segment_length}'
    )


class Memory(nnx.Module):
  """A memory of one layer. Subclasses implement init_state, filled, write, prepare and answer.

  Raises:
    ConfigError: the config cannot serve segments of the site's length.
  """

  draws: ClassVar[bool] = False
  """Whether `write` uses its key."""

  uses_attention: ClassVar[bool] = False
  """Whether `write` uses `Past.received_bl`: the weights that each token of the past received in the layer's
  local softmax, as key, while it stood in the window, summed over heads and real queries
  (nn/attention_received.py `received`, `added`). The layer's local attention then runs inside the recurrence:
  instead of `scan` the trunk calls `step` and, after each, its attention (nn/attention_received.py)."""

  def __init__(self, config: MemoryConfig, site: Site, *, rngs: nnx.Rngs):
    del rngs  # For the parameters of subclasses.
    config.check(site.segment_length)
    self.config = config
    self.site = site

  def aux_weights(self) -> dict[str, float]:
    """The weight of each auxiliary loss of `Read.aux` in the training loss; the others are only logged."""
    return {}

  def keys_values(self, project: Project | None, x_btd: Array) -> tuple[Array, Array]:
    """The layer's keys and values of x, for memories that hold or read such.

    Raises:
      ValueError: there is no `project`.
    """
    if project is None:
      raise ValueError(
        f"project = None: a memory of kind '{self.config.kind}' needs the layer's own W_K, W_V, "
        'a function x [b, t, d] -> k, v [b, t, h, k]'
      )
    return project(x_btd)

  def init_state(self, batch: int, dtype: Any) -> State:
    """An empty memory: constant structure, shapes and dtypes, lanes first in every leaf.

    Args:
      batch: number of lanes.
      dtype: of stored activations; what accumulates has `site.state_dtype`.
    """
    raise NotImplementedError

  def filled(self, state: State) -> Array:
    """ok_b: which rows hold anything."""
    raise NotImplementedError

  def reset(self, state: State, new_doc_b: Array) -> State:
    """Empties the rows where new_doc_b, statistics too."""

    def empty(leaf_b: Array) -> Array:
      where = new_doc_b.reshape(new_doc_b.shape + (1,) * (leaf_b.ndim - 1))
      return jnp.where(where, jnp.zeros_like(leaf_b), leaf_b)

    return jax.tree.map(empty, state)

  def write(self, state: State, past: Past, project: Project, *, key_b: Array | None = None) -> State:
    """Takes in one segment, in the rows where past.whole_b; the other rows stay as they are.

    The rows that write use up their statistics and zero them; a row without any is sampled evenly.

    Args:
      state: as it was read last, with the statistics of those reads added by `observe`.
      past: segment i - lag of each row's document.
      project: the layer's own W_K, W_V; None will do for a memory that needs none.
      key_b: one key per row where a write draws; None: deterministic.
    """
    raise NotImplementedError

  def prepare(self, state: State, project: Project) -> PyTree:
    """What stays constant while one segment is read; computed once when a segment opens."""
    raise NotImplementedError

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    """Reads for some tokens of the open segment. No randomness; `ok_b` is left None."""
    raise NotImplementedError

  def read(self, state: State, segment: Segment, project: Project) -> Read:
    """Reads for a whole segment; never changes the state."""
    return self.answer(self.prepare(state, project), segment)

  def observe(self, state: State, stats: PyTree) -> State:
    """Adds the statistics of a read (`Read.stats`) to the state. Most memories keep none."""
    del stats
    return state

  def step(
    self,
    state: State,
    segment: Segment,
    past: Past,
    new_doc_b: Array,
    project: Project,
    *,
    key_b: Array | None = None,
    view: View,
  ) -> tuple[State, Read]:
    """One segment: reset, write, read what `view` shows, add the read's statistics."""
    state = self.write(self.reset(state, new_doc_b), past, project, key_b=key_b)
    viewed, ok_b = view(self, state)
    read = self.read(viewed, segment, project)
    state = self.observe(state, read.stats)
    return state, dataclasses.replace(read, ok_b=ok_b, stats=None)

  def scan(
    self,
    state: State,
    segments: Segment,
    pasts: Past,
    new_doc_bs: Array,
    project: Project,
    *,
    keys_bs: Array | None = None,
    view: View,
  ) -> tuple[State, Read]:
    """A whole chunk: `step` for every segment.

    A memory may replace this by something faster and equal.

    Args:
      state: at the start of the chunk.
      segments, pasts: with s as their second axis.
      new_doc_bs: bool, rows to empty before segment s.
      project: the layer's own W_K, W_V.
      keys_bs: keys for the writes that draw.
      view: what is read instead of the state (views.py); later writes follow its statistics.
    Returns:
      The state after the chunk, and the reads with s as their second axis; aux summed over s.
    """

    def step(state: State, xs: tuple[Segment, Past, Array, Array | None]) -> tuple[State, Read]:
      segment, past, new_doc_b, key_b = xs
      return self.step(state, segment, past, new_doc_b, project, key_b=key_b, view=view)

    xs = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), (segments, pasts, new_doc_bs, keys_bs))
    state, reads = jax.lax.scan(step, state, xs)
    return state, by_lane(reads)


def by_lane(reads: Read) -> Read:
  """The reads of a scan with s as their second axis; aux summed over s."""
  aux = jax.tree.map(lambda a: a.sum(axis=0), reads.aux)
  reads = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), dataclasses.replace(reads, aux={}))
  return dataclasses.replace(reads, aux=aux)
