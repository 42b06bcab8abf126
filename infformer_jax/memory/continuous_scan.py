"""A chunk of the continuous memory: only what depends on earlier segments is computed one after the other.

These are A B and, for a sticky memory, the densities and their histogram. The new values of all segments are
regressed before, in one product, and all segments are read after, as if they were lanes.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from infformer_jax.core import placement, read
from infformer_jax.memory import rows
from infformer_jax.memory.base import View
from infformer_jax.types import Array, Past, Read, Segment

if TYPE_CHECKING:
  from infformer_jax.memory.continuous import Continuous, ContinuousState


def scan(
  memory: 'Continuous',
  state: 'ContinuousState',
  segments: Segment,
  pasts: Past,
  new_doc_bs: Array,
  *,
  keys_bs: Array | None,
  view: View,
) -> tuple['ContinuousState', Read]:
  """`Memory.scan` of a continuous memory."""

  def step(state: 'ContinuousState', xs: Any) -> tuple['ContinuousState', tuple['ContinuousState', Array]]:
    new_bnd, segment, whole_b, new_doc_b, key_b = xs
    state = memory.add_old_part(memory.reset(state, new_doc_b), new_bnd, whole_b, key_b)
    viewed, ok_b = view(memory, state)
    if state.histogram_bj is not None:
      state = memory.observe(state, _histogram(memory, viewed, segment, weights))
    return state, (viewed, ok_b)

  writes_bs = _writes_before(state.writes_b, new_doc_bs, pasts.whole_b)
  new_bnd = memory.new_part(*rows.rows((writes_bs, memory.fed(pasts))))
  # Every device locates the densities of all heads; each write would wait for those of other devices.
  weights = placement.everywhere(jax.lax.stop_gradient((memory.w_k_dhk[...], memory.affines())))
  located = None
  if state.histogram_bj is not None:
    located = dataclasses.replace(segments, q_blhk=jax.lax.stop_gradient(segments.q_blhk))
  xs = (rows.by_segment(new_bnd, new_doc_bs.shape[1]), located, pasts.whole_b, new_doc_bs, keys_bs)
  state, (viewed, ok_bs) = rows.scan(step, state, xs)
  return state, rows.read(memory, viewed, ok_bs, segments)


def _histogram(
  memory: 'Continuous', state: 'ContinuousState', segment: Segment, weights: tuple[Array, list[Array]]
) -> Array:
  """The statistics of a read with W_K and the affines, without its values; no gradient."""
  spec, basis = memory.config.read_spec(), memory.config.basis_spec()
  w_k_dhk, affines = weights
  keys_bmhk = read.keys(spec.readable(basis, jax.lax.stop_gradient(state.b_bnd)), w_k_dhk, *affines)
  density = read.locate(spec, basis, keys_bmhk, segment.q_blhk, memory.start(state))
  return memory.histogram(density, segment.ok_bl & memory.filled(state)[:, None])


def _writes_before(writes_b: Array, new_doc_bs: Array, whole_bs: Array) -> Array:
  """How many writes each row has had before each segment: [b, s]."""

  def step(writes_b: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
    new_doc_b, whole_b = xs
    before_b = jnp.where(new_doc_b, 0, writes_b)
    return before_b + whole_b.astype(writes_b.dtype), before_b

  return jax.lax.scan(step, writes_b, (new_doc_bs.T, whole_bs.T))[1].T
