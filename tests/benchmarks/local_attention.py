"""Local attention, forward and backward, against its formula with stored scores.

`attend` gets the window of one segment in every row: M tokens of the past and the segment itself, l.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core.attention import Part, Queries, attend
from infformer_jax.core.attention_softmax import MASKED
from infformer_jax.core.positions import Relative, relative_scores
from infformer_jax.types import Array
from tests.benchmarks.ltm_case import half_square
from tests.benchmarks.measure import (
  FULL,
  QUICK,
  Effort,
  check_equal,
  compiled,
  interleaved,
  note,
  temporary_mib,
)
from tests.benchmarks.table import Goal, Row, exact, timed

STORED = 'stored scores'
Positions = Literal['rotary', 'xl']  # rotary: queries and keys are already rotated
TIME_GOAL, MEMORY_GOAL = Goal(at_most=0.85), Goal(at_most=110, of='ours')


def rows(quick: bool) -> Iterator[Row]:
  """Both kinds of positions: time of forward and backward, and temporary memory."""
  for positions in ('rotary', 'xl'):
    shape = (2, 8, 2, 4) if quick else (4, 512, 12, 64)
    yield from _of(positions, *shape, effort=QUICK if quick else FULL)


def _of(positions: Positions, b: int, length: int, h: int, k: int, *, effort: Effort) -> Iterator[Row]:
  what = f'local attention, {positions}, {b} rows, l {length}, M {length}, {h} x {k}'
  note(what)
  arguments = inputs(positions, b, length, h, k)
  programs = {
    name: compiled(jax.value_and_grad(function), *arguments)
    for name, function in (('ours', loss), (STORED, _stored_loss))
  }
  check_equal(programs, *arguments)
  times = interleaved({name: functools.partial(run, *arguments) for name, run in programs.items()}, effort)
  yield timed(f'{what}, forward and backward', times, STORED, goal=TIME_GOAL)
  ours, stored = (temporary_mib(programs[name]) for name in ('ours', STORED))
  yield exact(f'{what}, temporary memory', 'MiB', ours, stored, STORED, goal=MEMORY_GOAL)


def inputs(positions: Positions, b: int, length: int, h: int, k: int) -> tuple[Any, ...]:
  """The arguments of `loss`: queries, keys and values (differentiated), valid keys, offsets, ages."""
  rng = np.random.default_rng(0)

  def normal(*shape: int) -> Array:
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  width = 2 * length
  arrays = [normal(b, length, h, k), normal(b, width, h, k), normal(b, width, h, k)]  # q, k, v
  if positions == 'xl':
    arrays += [normal(b, length, h, k), normal(width, h, k)]  # q + v, r
  age_1m = (length - jnp.arange(width, dtype=jnp.float32))[None]
  return tuple(arrays), jnp.ones((b, width), bool), jnp.arange(length, dtype=jnp.float32)[None], age_1m


def loss(*arguments: Any) -> Array:
  """Of what the library's `attend` returns."""
  return half_square(_attend(*arguments))


def _stored_loss(*arguments: Any) -> Array:
  return half_square(_stored(*arguments))


def _attend(arrays: tuple[Array, ...], ok_bm: Array, offset_1l: Array, age_1m: Array) -> Array:
  q_blhk, k_bmhk, v_bmhk, *rest = arrays
  position_q_blhk, r_mhk = rest or (None, None)
  term = None if r_mhk is None else Relative(r_mhk=r_mhk)
  part = Part(k_bmhk=k_bmhk, v_bmhk=v_bmhk, ok_bm=ok_bm, age_bm=age_1m, position=term, consecutive=True)
  return attend(Queries(q_blhk=q_blhk, offset_bl=offset_1l, position_q_blhk=position_q_blhk), [part])


def _stored(arrays: tuple[Array, ...], ok_bm: Array, offset_1l: Array, age_1m: Array) -> Array:
  q_blhk, k_bmhk, v_bmhk, *rest = arrays
  scores_bhlm = jnp.einsum('blhk,bmhk->bhlm', q_blhk, k_bmhk)
  if rest:
    scores_bhlm += relative_scores(*rest)
  seen_blm = (offset_1l[:, :, None] + age_1m[:, None] >= 0) & ok_bm[:, None]
  scores_bhlm = jnp.where(seen_blm[:, None], scores_bhlm / math.sqrt(q_blhk.shape[-1]), MASKED)
  return jnp.einsum('bhlm,bmhk->blhk', jax.nn.softmax(scores_bhlm), v_bmhk)
