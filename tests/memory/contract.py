"""A memory under test: four lanes of documents, a projection, and the compiled functions of the contract."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.memory import registry
from infformer_jax.memory.base import Site
from infformer_jax.memory.views import VIEWS
from infformer_jax.types import Past, Segment
from tests import toy

B, S, L, D, H, K = 4, 8, toy.LENGTH, 16, 2, 8
SITE = Site(d_model=D, num_heads=H, head_dim=K, segment_length=L, lag=2, param_dtype=jnp.dtype(toy.DTYPE))
NEW_DOC = np.array(
  [[1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0], [1] * 8, [1, 0, 1, 0, 0, 0, 0, 1]], bool
)

every_memory = pytest.mark.parametrize(
  'name', [pytest.param(n, marks=() if n in registry.CONFIGS else pytest.mark.slow) for n in toy.MEMORIES]
)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(toy.DTYPE)


def material():
  """Segments and pasts [b, s, ...] of four lanes; the last token of each document is padding."""
  last = np.roll(NEW_DOC, -1, axis=1) | (np.arange(S) == S - 1)
  ok_bsl = (np.arange(L) < np.where(last, L - 1, L)[..., None]) & ~NEW_DOC.all(1)[:, None, None]
  since_bs = np.array([[s - np.flatnonzero(new[: s + 1])[-1] for s in range(S)] for new in NEW_DOC])
  q_bslhk = normal(0, 3, B, S, L, H, K)[0]
  offset_bsl = np.broadcast_to(np.arange(L, dtype=np.float32), ok_bsl.shape)
  segments = Segment(q_blhk=q_bslhk, ok_bl=ok_bsl, offset_bl=offset_bsl)
  pasts = Past(
    x_bld=normal(2, B, S, L, D),
    whole_b=since_bs >= SITE.lag,
    received_bl=np.abs(normal(4, B, S, L)),
    residual_bld=normal(5, B, S, L, D),
  )
  return *jax.tree.map(jnp.asarray, (segments, pasts)), jax.random.split(jax.random.key(0), (B, S))


def projected(w_dhk, x_btd):
  return tuple(jnp.einsum('btd,dhk->bthk', x_btd, w.astype(x_btd.dtype)) for w in w_dhk)


project = jax.tree_util.Partial(projected, normal(3, 2, D, H, K) / np.sqrt(D).astype(toy.DTYPE))


def at(tree, s):
  return jax.tree.map(lambda a: a[:, s], tree)


class Trial:
  """One memory with its functions, each compiled once."""

  def __init__(self, name):
    self.memory = memory = registry.build(toy.MEMORIES[name], SITE, rngs=nnx.Rngs(0))
    self.write = toy.quickly(lambda state, past, key_b=None: memory.write(state, past, project, key_b=key_b))
    self.read = toy.quickly(lambda state, segment: memory.read(state, segment, project))
    self.reset, self.observe = toy.quickly(memory.reset), toy.quickly(memory.observe)

  def empty(self, lanes=B, dtype=toy.DTYPE):
    return self.memory.init_state(lanes, jnp.dtype(dtype))

  def loop(self, steps=S, *, view=VIEWS['memory'], keyed=True):
    """Calls the functions of the contract in order; returns the state and the reads of all segments."""
    segments, pasts, keys_bs = material()
    state, reads = self.empty(), []
    for s in range(steps):
      state = self.write(self.reset(state, NEW_DOC[:, s]), at(pasts, s), keys_bs[:, s] if keyed else None)
      viewed, ok_b = view(self.memory, state)
      read = self.read(viewed, at(segments, s))
      state = self.observe(state, read.stats)
      reads.append(dataclasses.replace(read, ok_b=ok_b, stats=None))
    return state, reads


@functools.cache
def trial(name):
  return Trial(name)


@functools.cache
def used(name):
  """A state with lanes in different phases of their documents, an empty third lane, and statistics."""
  return trial(name).loop(S - 1)[0]


def rows(tree, where_b):
  return jax.tree.map(lambda leaf: leaf[where_b], tree)


def described(state):
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
