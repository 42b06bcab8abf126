"""Scans of memories whose state alone passes from one segment to the next.

What does not depend on the state is computed for all segments before, and they are all read after, as if they
were lanes: in larger products than segment by segment, and without communication between devices in the loop.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from infformer_jax.core import placement
from infformer_jax.memory.base import Memory, State
from infformer_jax.types import Array, Project, PyTree, Read, Segment


def rows(tree: PyTree) -> PyTree:
  """[b, s, ...] -> [b·s, ...]."""
  return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)


def by_segment(tree: PyTree, s: int) -> PyTree:
  """The inverse of `rows`."""
  return jax.tree.map(lambda a: a.reshape(-1, s, *a.shape[1:]), tree)


def scan(
  step: Callable[[State, Any], tuple[State, PyTree]], state: State, xs: PyTree
) -> tuple[State, PyTree]:
  """jax.lax.scan over the second axis of `xs` and of the results; all of a lane is on one device."""
  xs = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), placement.lanes_first(xs))
  state, ys = jax.lax.scan(step, placement.lanes_first(state), xs)
  return state, placement.lanes_first(jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), ys))


def read(
  memory: Memory, viewed: State, ok_bs: Array, segments: Segment, project: Project | None = None
) -> Read:
  """The reads of a chunk, as `Memory.scan` returns them.

  Args:
    memory: whose reads of a segment do not depend on other reads.
    viewed: what each segment reads, and `ok_bs` whether the view could be applied: [b, s, ...].
    segments: of the chunk.
    project: the layer's own W_K, W_V.
  """
  viewed, segments = rows((viewed, segments))
  reads = memory.read(viewed, segments, project)
  aux = reads.aux  # Summed over all rows.
  reads = by_segment(dataclasses.replace(reads, aux={}, stats=None), ok_bs.shape[1])
  return dataclasses.replace(reads, aux=aux, ok_b=ok_bs)
