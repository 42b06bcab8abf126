"""The parts of a training step (3 layers, width 768, sticky memory), forward and backward, each alone.

The operations of a part are those of its matrix products: three times those of the forward pass, or twice
where one factor is constant. The optimizer has none.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.memory.continuous import Continuous
from infformer_jax.nn.layers import FeedForward
from infformer_jax.types import Array
from tests.benchmarks import local_attention
from tests.benchmarks.ltm_case import Case, Inputs, half_square
from tests.benchmarks.measure import Effort, compiled, interleaved, note
from tests.benchmarks.table import Row, Spread
from tests.benchmarks.training_step import OPTIMIZER, SEGMENTS, VOCABULARY, WIDE, Step

D, L, M, N, H, K = WIDE.d_model, WIDE.segment_length, WIDE.short_term_length, 512, WIDE.num_heads, 64
TOKENS = SEGMENTS * L
WHOLE, ONCE = 'whole step', ('whole step', 'optimizer', 'read-out and loss')  # the others: in every layer
FEW = Effort(rounds=5, seconds=0)
MATRIX = 2048  # of the product that shows what the machine can do


def rows(quick: bool) -> Iterator[Row]:
  """Every part against its matrix products at the rate of a large one; the whole step is the last."""
  if quick:  # Each part is in another subject, too.
    return
  note('parts of the training step')
  layers, matrix = WIDE.num_layers, jnp.ones((MATRIX, MATRIX))
  product = jax.jit(jnp.matmul)
  flops = {
    'feed-forward': layers * 3 * 4 * TOKENS * D * WIDE.d_ff,
    'projections': layers * 3 * 2 * D * D * (2 * TOKENS + 2 * (TOKENS + M) + L + M),
    'local attention': layers * 3 * 6 * TOKENS * (L + M) * D,
    'long-term memory': layers * SEGMENTS * memory_flops(),
    'read-out and loss': 3 * 2 * TOKENS * D * VOCABULARY,
    'optimizer': 0,
  }
  flops[WHOLE] = sum(flops.values())
  contestants = {
    'feed-forward': _feed_forward(),
    'projections': _projections(),
    'local attention': _local_attention(),
    'long-term memory': _long_term_memory(),
    'read-out and loss': _read_out(),
    'optimizer': _optimizer(),
    WHOLE: Step(WIDE, 1).run,
    'product': lambda: product(matrix, matrix),
  }
  times = interleaved(contestants, FEW)
  rate = 2 * MATRIX**3 / np.median(times['product'])
  for name, operations in flops.items():
    count = 1 if name in ONCE else layers
    ours = Spread.of([1000 * count * s for s in times[name]])
    what = f'part of the training step: {name}'
    if not operations:
      yield Row(what=what, unit='ms', ours=ours)
      continue
    bare = Spread.of([1000 * operations / rate])
    ratio = Spread.of([ours.median / bare.median])
    other_name = f'{operations / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s'
    yield Row(what=what, unit='ms', ours=ours, other=bare, other_name=other_name, ratio=ratio)


def memory_flops() -> float:
  """Of a write and a read with sticky sampling, forward and backward; the products of ltm_layer.py."""
  without_gradient = 2 * N * N * N  # G_pastᵀ·Ψ
  one_constant = 2 * N * N * D + 2 * L * N * D
  others = 2 * N * D * D + 4 * N * D + 4 * D * D + 4 * L * D + 2 * L * N * D + 2 * L * D * D
  return without_gradient + 2 * one_constant + 3 * others


def _program(function: Callable[..., Array], arguments: Sequence[Any]) -> Callable[[], Any]:
  """A loss and its gradients for all arguments."""
  both = jax.value_and_grad(lambda arrays: half_square(function(*arrays)))
  return functools.partial(compiled(both, tuple(arguments)), tuple(arguments))


def _normal(*shape: int) -> Array:
  return jax.random.normal(jax.random.key(sum(shape)), shape)


def _feed_forward() -> Callable[[], Any]:
  dtypes = {'dtype': jnp.float32, 'param_dtype': jnp.float32}
  layer = FeedForward(WIDE.feed_forward, D, WIDE.d_ff, bias=True, gain=1.0, rngs=nnx.Rngs(0), **dtypes)
  graphdef, params = nnx.split(layer)

  def forward(params: Any, x_btd: Array) -> Array:
    return nnx.merge(graphdef, params)(x_btd, keys_bs=None, rate=0.0)

  return _program(forward, (params, _normal(1, TOKENS, D)))


def _projections() -> Callable[[], Any]:
  """W_q, W_o of the tokens, W_k, W_v of the tokens and the cached ones, W_R of the distances."""

  def forward(x_td: Array, r_md: Array, *w_dd: Array) -> Array:
    w_q, w_k, w_v, w_o, w_r = w_dd
    results = (x_td[M:] @ w_q, x_td @ w_k, x_td @ w_v, x_td[M:] @ w_o, r_md @ w_r)
    return jnp.concatenate(results)

  return _program(forward, (_normal(TOKENS + M, D), _normal(L + M, D), *(_normal(D, D) for _ in range(5))))


def _local_attention() -> Callable[[], Any]:
  arguments = local_attention.inputs('xl', SEGMENTS, L, H, K)
  return functools.partial(compiled(jax.value_and_grad(local_attention.loss), *arguments), *arguments)


def _long_term_memory() -> Callable[[], Any]:
  inputs = Inputs(Case(batch=1, num_basis=N, sampling='sticky'), SEGMENTS)
  program = compiled(inputs.gradients(Continuous.scan), *inputs.arguments)
  return functools.partial(program, *inputs.arguments)


def _read_out() -> Callable[[], Any]:
  targets_t = jnp.arange(TOKENS) % VOCABULARY

  def forward(x_td: Array, table_vd: Array) -> Array:
    logits_tv = x_td @ table_vd.T
    return jax.nn.logsumexp(logits_tv, axis=-1) - jnp.take_along_axis(logits_tv, targets_t[:, None], -1)[:, 0]

  return _program(forward, (_normal(TOKENS, D), _normal(VOCABULARY, D)))


def _optimizer() -> Callable[[], Any]:
  state = Step(WIDE, 1).state
  arguments = state.params, state.optimizer, state.params
  return functools.partial(compiled(OPTIMIZER.update, *arguments), *arguments)
