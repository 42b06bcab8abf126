"""The memory contract. Read this file first.

A memory is an NNX module. It owns its parameters; its mathematics is in core/; its state is an argument and a
result. At segment i of a document it receives segment i - lag, then answers: *write, then read*. The state is
one pytree with the lanes as the first axis of every leaf; rows are independent.

A layer uses each kind of `Read` differently: `added_bld` is added to its output, after W_o; `slots` are more
keys and values of its local softmax, where ok_bm, at distances offset + age; `gated` is mixed with the result
of that softmax before W_o (core/attention.py `mixed`). README has a layer that does the last two.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core.arrays import at_least_float32
from infformer_jax.memory.memory_config import MemoryConfig, Traits
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment

State = PyTree
View = Callable[['Memory', State], tuple[State, Array]]
"""Selects the state that is read: (memory, state) -> (state to read, ok_b); see views.py."""


def identity(memory: 'Memory', state: State) -> tuple[State, Array]:
  """The view of the memory itself."""
  return state, jnp.ones_like(memory.filled(state))


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
    """What accumulates over segments is never narrower than float32, for any dtype of activations."""
    return at_least_float32(self.param_dtype)

  def ages(self, num_tokens: int) -> np.ndarray:
    """The ages, tokens back from a segment's first, of the last tokens that were written; newest last."""
    return (self.lag - 1) * self.segment_length + num_tokens - np.arange(num_tokens)


def segments_back(num_slots: int, slots_per_segment: int) -> np.ndarray:
  """How many segments before the newest one each slot of a queue was written; newest last."""
  return np.arange(num_slots)[::-1] // slots_per_segment


class Constant(nnx.Variable):
  """Arrays that a memory multiplies with but does not train: `Memory.constants` as arguments of a program."""


class Memory(nnx.Module):
  """A memory of one layer. Subclasses implement init_state, filled, write, prepare and answer.

  The names of its parameters decide which of them have weight decay (train/optimizer.py, `decayed`).

  Raises:
    ConfigError: the config cannot serve segments of the site's length.
  """

  def __init__(self, config: MemoryConfig, site: Site, *, rngs: nnx.Rngs):
    del rngs  # For the parameters of subclasses.
    config.check(site.segment_length)
    self.config = config
    self.site = site

  @property
  def traits(self) -> Traits:
    """The traits of the config."""
    return self.config.traits

  def parts(self) -> dict[str, 'Memory']:
    """The memories in this one, by the places of `MemoryConfig.parts`."""
    return {'': self}

  def part_states(self, state: State) -> dict[str, State]:
    """The states of `parts`, by the same places."""
    return {'': state}

  def constants(self) -> dict[str, PyTree]:
    """Large arrays that programs embed unless `use` gets them, by names that equal memories share."""
    return {}

  def use(self, constants: Mapping[str, PyTree]) -> None:
    """Takes the arrays of `constants` from arguments of the program (nn/transformer.py, `merge`)."""

  def aux_weights(self) -> dict[str, float]:
    """The weight of each auxiliary loss of `Read.aux` in the training loss; the others are only logged."""
    return {}

  def require(self, project: Project | None) -> Project:
    """`project`, for memories that need the layer's keys and values.

    Raises:
      ValueError: it is None.
    """
    if project is None:
      raise ValueError(
        f"project = None: a memory of kind '{self.config.kind}' needs the layer's own W_K, W_V, "
        'a function x [b, t, d] -> k, v [b, t, h, k]'
      )
    return project

  @abc.abstractmethod
  def init_state(self, batch: int, dtype: Any) -> State:
    """An empty memory: constant structure, shapes and dtypes, lanes first in every leaf.

    Args:
      batch: number of lanes.
      dtype: of stored activations; what accumulates has `site.state_dtype`.
    """

  @abc.abstractmethod
  def filled(self, state: State) -> Array:
    """ok_b: which rows hold anything."""

  def reset(self, state: State, new_doc_b: Array) -> State:
    """Empties the rows where new_doc_b, statistics too: an empty state is all zeros."""

    def empty(leaf_b: Array) -> Array:
      where = new_doc_b.reshape(new_doc_b.shape + (1,) * (leaf_b.ndim - 1))
      return jnp.where(where, jnp.zeros_like(leaf_b), leaf_b)

    return jax.tree.map(empty, state)

  @abc.abstractmethod
  def write(
    self, state: State, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> State:
    """Writes one segment, in the rows where past.whole_b; the other rows do not change.

    Rows that are written use their statistics and zero them; a row without any is sampled evenly.

    Args:
      state: the state as of the last read, with the statistics of those reads added by `observe`.
      past: segment i - lag of each row's document.
      project: the layer's own W_K, W_V, for memories that need them.
      key_b: one key per row where a write draws; None: deterministic.
    """

  @abc.abstractmethod
  def prepare(self, state: State, project: Project | None = None) -> PyTree:
    """What stays constant while one segment is read; computed once when a segment opens."""

  @abc.abstractmethod
  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    """Reads for some tokens of the open segment. No randomness; `ok_b` stays None.

    Its slots are the same for all tokens of the segment: they depend on `prepared` alone.
    """

  def read(self, state: State, segment: Segment, project: Project | None = None) -> Read:
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
    project: Project | None = None,
    *,
    key_b: Array | None = None,
    view: View = identity,
  ) -> tuple[State, Read]:
    """One segment: reset, write, read what `view` shows, add the read's statistics.

    Raises:
      AssertionError: a leaf of the state does not have the lanes of new_doc_b first.
    """
    chex.assert_tree_shape_prefix(state, new_doc_b.shape)
    state = self.write(self.reset(state, new_doc_b), past, project, key_b=key_b)
    viewed, ok_b = view(self, state)
    read = self.read(viewed, segment, project)
    state = self.observe(state, read.stats)
    chex.assert_tree_shape_prefix(state, new_doc_b.shape)
    return state, dataclasses.replace(read, ok_b=ok_b, stats=None)

  def scan(
    self,
    state: State,
    segments: Segment,
    pasts: Past,
    new_doc_bs: Array,
    project: Project | None = None,
    *,
    keys_bs: Array | None = None,
    view: View = identity,
  ) -> tuple[State, Read]:
    """A whole chunk: `step` for every segment.

    A memory may override this with an equal but faster computation.

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
