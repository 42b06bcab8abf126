"""A chunk of the continuous memory: only what depends on earlier segments is computed one after the other.

These are A B and, for a sticky memory, the densities and their histogram. The new values of all segments are
regressed before, in one product, and all segments are read after, as if they were lanes.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from infformer_jax.core import read
from infformer_jax.memory.base import View
from infformer_jax.types import Array, Past, PyTree, Read, Segment

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
  b, s = new_doc_bs.shape

  def rows(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: a.reshape(b * s, *a.shape[2:]), tree)

  def chunks(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: a.reshape(b, s, *a.shape[1:]), tree)

  def step(state: 'ContinuousState', xs: Any) -> tuple['ContinuousState', tuple['ContinuousState', Array]]:
    new_bnd, segment, whole_b, new_doc_b, key_b = xs
    state = memory.add_old_part(memory.reset(state, new_doc_b), new_bnd, whole_b, key_b)
    viewed, ok_b = view(memory, state)
    if state.histogram_bj is not None:
      state = memory.observe(state, _histogram(memory, viewed, segment))
    return state, (viewed, ok_b)

  writes_bs = _writes_before(state.writes_b, new_doc_bs, pasts.whole_b)
  new_bsnd = chunks(memory.new_part(*rows((writes_bs, memory.fed(pasts)))))
  xs = (new_bsnd, segments, pasts.whole_b, new_doc_bs, keys_bs)
  state, views = jax.lax.scan(step, state, jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), xs))
  viewed, ok_bs = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), views)
  reads = memory.read(*rows((viewed, segments)))
  aux = reads.aux  # Summed over all rows.
  reads = chunks(dataclasses.replace(reads, aux={}, stats=None))
  return state, dataclasses.replace(reads, aux=aux, ok_b=ok_bs)


def _histogram(memory: 'Continuous', state: 'ContinuousState', segment: Segment) -> Array:
  """The statistics of a read, without its values; no gradient."""
  spec, basis = memory.config.read_spec(), memory.config.basis_spec()
  b_bnd, w_k_dhk, affines, q_blhk = jax.lax.stop_gradient(
    (state.b_bnd, memory.w_k_dhk[...], memory.affines(), segment.q_blhk)
  )
  keys_bmhk = read.keys(spec.readable(basis, b_bnd), w_k_dhk, *affines)
  density = read.locate(spec, basis, keys_bmhk, q_blhk, memory.start(state))
  return memory.histogram(density, segment.ok_bl & memory.filled(state)[:, None])


def _writes_before(writes_b: Array, new_doc_bs: Array, whole_bs: Array) -> Array:
  """How many writes each row has had before each segment: [b, s]."""

  def step(writes_b: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
    new_doc_b, whole_b = xs
    before_b = jnp.where(new_doc_b, 0, writes_b)
    return before_b + whole_b.astype(writes_b.dtype), before_b

  return jax.lax.scan(step, writes_b, (new_doc_bs.T, whole_bs.T))[1].T
