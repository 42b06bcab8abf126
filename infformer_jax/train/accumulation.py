"""Gradient accumulation: the lanes of a step in groups, one group after the other."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.pytree import pytree
from infformer_jax.errors import ConfigError
from infformer_jax.nn.transformer import ModelState
from infformer_jax.types import Array, Batch, PyTree, SumCount


@pytree
class Lanes:
  """What a step reads for some lanes; every leaf has the lanes first."""

  batch: Batch
  memory: ModelState
  index_b: Array | None  # int32, the lanes' indices among all lanes; None: 0, 1, 2, ...


Forward = Callable[[PyTree, Lanes], tuple[dict[str, SumCount], ModelState]]
"""(parameters, lanes) -> losses as sums and counts over these lanes, and their memories after the chunk."""


def mean(sum_count: SumCount) -> Array:
  """sum / count; 0 where the count is 0."""
  total, count = sum_count
  return total / jnp.maximum(count, 1)


def gradients(
  forward: Forward,
  params: PyTree,
  batch: Batch,
  memory: ModelState,
  *,
  weights: Mapping[str, float],
  groups: int,
) -> tuple[PyTree, dict[str, SumCount], ModelState]:
  """The gradient of the sum of the means of losses, each mean over all lanes.

  The activations of one group of lanes exist at a time. The groups are summed in float32 or wider.

  Args:
    forward: computes the losses of some lanes.
    params: with respect to which the gradient is.
    batch: the chunk of all lanes.
    memory: of all lanes.
    weights: the weight of the mean of each loss; losses without a weight have no gradient.
    groups: how many; 1: all lanes at once.
  Returns:
    The gradient, in the dtypes of `params`, the losses over all lanes, and the memories of all lanes.
  """

  def weighted(
    params: PyTree, lanes: Lanes, counts: Mapping[str, Array] | None
  ) -> tuple[Array, tuple[dict[str, SumCount], ModelState]]:
    sums, memory = forward(params, lanes)
    loss = jnp.float32(0)
    for name, weight in weights.items():
      total, count = sums[name]
      loss += weight * mean((total, count if counts is None else counts[name]))
    return loss, (sums, memory)

  differentiate = jax.grad(weighted, has_aux=True)
  if groups == 1:
    gradient, (sums, memory) = differentiate(params, Lanes(batch=batch, memory=memory, index_b=None), None)
    return gradient, sums, memory

  index_b = jnp.arange(batch.tokens_bsl.shape[0], dtype=jnp.int32)
  batch, memory, index_b = _split((batch, memory, index_b), groups)

  def lanes_of(group: Array, memory: PyTree) -> Lanes:
    taken = _group((batch, memory, index_b), group)
    return Lanes(batch=taken[0], memory=taken[1], index_b=taken[2])

  def counts_of(group: Array) -> dict[str, Array]:
    sums, _ = forward(params, lanes_of(group, memory))
    return {name: sums[name][1] for name in weights}

  # The gradient of a group needs the counts of all groups. They depend on masks, not on activations: the
  # compiler removes the rest of this forward pass.
  counts = jax.tree.map(lambda a: a.sum(axis=0), jax.lax.map(counts_of, jnp.arange(groups)))

  def add(carry: tuple[PyTree, PyTree], group: Array) -> tuple[tuple[PyTree, PyTree], dict[str, SumCount]]:
    total, memory = carry
    gradient, (sums, after) = differentiate(params, lanes_of(group, memory), counts)
    total = jax.tree.map(lambda a, b: a + b.astype(a.dtype), total, gradient)
    memory = jax.tree.map(
      lambda a, b: jax.lax.dynamic_update_index_in_dim(a, b, group, axis=1), memory, after
    )
    return (total, memory), sums

  zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, at_least_float32(a.dtype)), params)
  (total, memory), sums = jax.lax.scan(add, (zeros, memory), jnp.arange(groups))
  return (
    jax.tree.map(lambda a, b: a.astype(b.dtype), total, params),
    jax.tree.map(lambda a: a.sum(axis=0), sums),
    jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), memory),
  )


def _split(tree: PyTree, groups: int) -> PyTree:
  """[b, ...] -> [b / groups, groups, ...]: group g has the lanes whose index is g modulo `groups`.

  A device with consecutive lanes, a multiple of `groups`, has equally many of every group: no lane moves to
  another device.
  """
  return jax.tree.map(lambda a: a.reshape(-1, groups, *a.shape[1:]), tree)


def _group(tree: PyTree, group: Array) -> PyTree:
  return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, group, axis=1, keepdims=False), tree)


def require_whole_groups(batch_size: int, groups: int, devices: int) -> None:
  """Checks that every device has as many lanes of each group.

  Args:
    batch_size: lanes over all devices.
    groups: train.accumulate_steps.
    devices: over which the lanes are split, a divisor of `batch_size`.
  Raises:
    ConfigError: they do not.
  """
  lanes = batch_size // devices
  if lanes % groups:
    allowed = ', '.join(str(n) for n in range(1, lanes + 1) if lanes % n == 0)
    raise ConfigError(
      f'train.accumulate_steps = {groups} must divide the {lanes} lanes of each device '
      f'(train.batch_size = {batch_size} over {devices} devices); use one of {allowed}'
    )
