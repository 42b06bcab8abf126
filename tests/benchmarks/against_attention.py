"""A long-term memory layer against exact attention over the whole past, by the length of the past.

Both get a segment of l tokens and its queries, and end with the output projection. The memory writes the
segment and reads itself. Exact attention projects the segment to keys and values, stores them as the last l
of T, and attends to all T. It has no causal mask, which would concern only l of the T keys. jax.nn stores the
scores, and gets so many queries at a time that these take at most a GiB; PyTorch does not store them.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.memory.continuous import Continuous
from infformer_jax.types import Array
from tests.benchmarks.ltm_case import Case, Inputs
from tests.benchmarks.measure import (
  FULL,
  QUICK,
  Effort,
  Times,
  compiled,
  installed,
  interleaved,
  note,
  num_threads,
)
from tests.benchmarks.table import Goal, Row, exact, timed

JAX, TORCH = 'jax.nn', 'torch'
LENGTHS = (512, 1024, 2048, 4096, 16384, 65536, 262144)  # T, ascending
CASE = Case(batch=1, num_basis=512, sampling='sticky')
TINY = Case(batch=1, num_basis=16, sampling='sticky', num_heads=2, head_dim=8, length=32)
STREAM_CASE = Case(batch=1, num_basis=512, sampling='sticky', num_heads=4)
STREAMED, CHUNK = 2**20, 8  # tokens, segments
MOST_CHECKED = 4096  # tokens of context up to which the results of the two exact contestants are compared
CONSTANT_TIME = Goal(at_most=1.03)


def rows(quick: bool) -> Iterator[Row]:
  """Times by length, the length from which the memory is faster, sizes, the time after a million tokens."""
  case, lengths = (TINY, (64, 128)) if quick else (CASE, LENGTHS)
  times = {length: times_at(case, length, QUICK if quick else few(length)) for length in lengths}
  for name in (JAX, TORCH):
    for length in lengths:
      what = f'a segment with {length} tokens of context, {_sizes(case)}'
      yield dataclasses.replace(timed(what, times[length], name), at=length)
    if installed('torch') or name == JAX:
      crossing = crossover(lengths, [np.median(np.divide(t['ours'], t[name])) for t in times.values()])
      if crossing is not None:
        yield exact(f'context from which the memory is faster than {name}', 'tokens', crossing)
  what = f'what is kept of {lengths[-1]} tokens, {_sizes(case)}'
  yield exact(what, 'MiB', state_mib(case), cache_mib(case, lengths[-1]), 'keys and values')
  yield from _streamed(TINY if quick else STREAM_CASE, 2**12 if quick else STREAMED, QUICK if quick else FULL)


def few(length: int) -> Effort:
  """Fewer rounds where one takes many seconds."""
  return Effort(rounds=5 if length <= 16384 else 2, seconds=1)


def times_at(case: Case, length: int, effort: Effort) -> Times:
  """Seconds of the contestants 'ours', JAX and, if it is installed, TORCH with `length` tokens of context."""
  note(f'context of {length} tokens')
  inputs = Inputs(case)
  ours = compiled(inputs.forward(Continuous.step), *inputs.arguments)
  exact_attention = JaxAttention(inputs, length)
  contestants: dict[str, Callable[[], Any]] = {
    'ours': lambda: ours(*inputs.arguments),
    JAX: exact_attention.run,
  }
  if installed(TORCH):
    contestants[TORCH] = torch_attention(inputs, exact_attention.cache)
    if length <= MOST_CHECKED:
      np.testing.assert_allclose(contestants[TORCH](), exact_attention.run(), atol=1e-3)
  return interleaved(contestants, effort)


def crossover(lengths: Sequence[int], ratios: Sequence[float]) -> float | None:
  """The length from which the ratio ours / other stays below 1, between those measured; None: it does not.

  >>> crossover((1, 4, 16), (2.0, 0.5, 0.25))
  2.0
  >>> crossover((1, 4, 16), (0.5, 2.0, 0.5))
  8.0
  """
  if ratios[-1] > 1:
    return None
  pairs = list(itertools.pairwise(zip(lengths, np.log(ratios), strict=True)))
  for (length, above), (longer, below) in reversed(pairs):
    if above > 0:
      return length * (longer / length) ** float(above / (above - below))
  return lengths[0]


def state_mib(case: Case) -> float:
  """The size of the memory's state."""
  return sum(leaf.nbytes for leaf in jax.tree.leaves(Inputs(case).rest[0])) / 2**20


def cache_mib(case: Case, length: int) -> float:
  """The size of the keys and values of a context, in float32."""
  return case.batch * 2 * length * case.d_model * 4 / 2**20


class JaxAttention:
  """`jax.nn.dot_product_attention` over a cache that is updated in place."""

  def __init__(self, inputs: Inputs, length: int):
    params, _, x_bld, q_blhk = inputs.differentiated
    case = inputs.case
    queries = case.length
    while case.batch * case.num_heads * queries * length * 4 > 2**30:
      queries //= 2
    keys = jax.random.split(jax.random.key(0))
    shape = (case.batch, length, case.num_heads, case.head_dim)
    self.cache = tuple(jax.random.normal(key, shape) for key in keys)
    self.rest = params, x_bld, q_blhk

    def attend(cache: tuple[Array, Array], params: Any, x_bld: Array, q_blhk: Array) -> Any:
      projected = (jnp.einsum('bld,dhk->blhk', x_bld, params[name]) for name in ('w_k_dhk', 'w_v_dhk'))
      put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=length - case.length, axis=1)
      k_bmhk, v_bmhk = cache = tuple(put(old, new) for old, new in zip(cache, projected, strict=True))
      some_ibqhk = jnp.swapaxes(q_blhk.reshape(case.batch, -1, queries, *q_blhk.shape[2:]), 0, 1)
      context_ibqhk = jax.lax.map(lambda q: jax.nn.dot_product_attention(q, k_bmhk, v_bmhk), some_ibqhk)
      context_blhk = jnp.swapaxes(context_ibqhk, 0, 1).reshape(q_blhk.shape)
      return cache, jnp.einsum('blhk,hkd->bld', context_blhk, params['w_o_hkd'])

    self.program = compiled(attend, self.cache, *self.rest, donate_argnums=0)

  def run(self) -> Any:
    self.cache, out_bld = self.program(self.cache, *self.rest)
    return out_bld


def torch_attention(inputs: Inputs, cache: tuple[Array, Array]) -> Callable[[], Any]:
  """`torch.nn.functional.scaled_dot_product_attention` over a copy of a cache, updated in place."""
  import torch

  from tests.benchmarks.ltm_torch import tensor

  torch.set_num_threads(num_threads())
  case, (params, _, x_bld, q_blhk) = inputs.case, inputs.differentiated
  d = case.d_model
  w_k, w_v, w_o = (tensor(params[name]).reshape(d, d) for name in ('w_k_dhk', 'w_v_dhk', 'w_o_hkd'))
  x_bld, q_bhlk = tensor(x_bld), tensor(q_blhk).transpose(1, 2).contiguous()
  k_bhmk, v_bhmk = (tensor(a).transpose(1, 2).contiguous() for a in cache)

  def heads(x_btd: Any) -> Any:
    return x_btd.unflatten(-1, (case.num_heads, case.head_dim)).transpose(1, 2)

  def run() -> Any:
    with torch.no_grad():
      k_bhmk[:, :, -case.length :], v_bhmk[:, :, -case.length :] = heads(x_bld @ w_k), heads(x_bld @ w_v)
      context_bhlk = torch.nn.functional.scaled_dot_product_attention(q_bhlk, k_bhmk, v_bhmk)
      return context_bhlk.transpose(1, 2).flatten(2) @ w_o

  return run


def _streamed(case: Case, tokens: int, effort: Effort) -> Iterator[Row]:
  """The time of a chunk early and late in a stream, in turn, from the states at these places."""
  note(f'stream of {tokens} tokens')
  inputs = Inputs(case, CHUNK)
  program = compiled(inputs.forward(Continuous.scan), *inputs.arguments)
  state, *rest = inputs.rest
  params, _, *read_and_written = inputs.differentiated

  def chunk(state: Any) -> Any:
    return program(params, state.b_bnd, *read_and_written, (state, *rest))[1]

  chunk_tokens = CHUNK * case.length
  early = late = chunk(state)
  for _ in range(tokens // chunk_tokens - 1):
    late = chunk(late)
  at_early = f'at {chunk_tokens}'
  times = interleaved({'ours': lambda: chunk(late), at_early: lambda: chunk(early)}, effort)
  what = f'token of a stream after {tokens} tokens, {_sizes(case)}, state {state_mib(case):.2f} MiB'
  yield timed(f'{what}, per 1000 tokens', times, at_early, goal=CONSTANT_TIME, per=chunk_tokens / 1000)


def _sizes(case: Case) -> str:
  return f'l {case.length}, {case.num_heads} x {case.head_dim}, N {case.num_basis}'
