"""The softmax of scores over several parts, and its product with their values."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from infformer_jax.core.arrays import at_least_float32

MASKED = -1e30
"""A score whose weight is exactly 0 if any other key is seen; finite in float32."""


def exponentials(
  scores: Sequence[Float[Array, '*b _']], ok: Sequence[Bool[Array, '*#b _']]
) -> tuple[list[Float[Array, '*b _']], Float[Array, '*b 1']]:
  """The numerators of one softmax over the last axes of all scores, where ok, and its denominator.

  All numerators are 0 where nothing is ok; the denominator is then 1.
  """
  masked = [jnp.where(where, each, MASKED) for each, where in zip(scores, ok, strict=True)]
  highest = functools.reduce(jnp.maximum, [each.max(axis=-1, keepdims=True) for each in masked])
  highest = jax.lax.stop_gradient(highest)
  numerators = [jnp.where(where, jnp.exp(each - highest), 0) for each, where in zip(masked, ok, strict=True)]
  total = functools.reduce(jnp.add, [each.sum(axis=-1, keepdims=True) for each in numerators])
  return numerators, jnp.where(total > 0, total, 1)


def softmax(scores: Float[Array, '*b m'], ok: Bool[Array, '*#b m']) -> Float[Array, '*b m']:
  """Softmax over the last axis where ok, float32 or wider; all weights are 0 where nothing is ok."""
  (numerator,), total = exponentials([scores.astype(at_least_float32(scores.dtype))], [ok])
  return numerator / total


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def weighted_values(
  rate: float,
  scores: list[Float[Array, 'b h l _']],
  values: list[Float[Array, 'b _ h k']],
  ok: list[Bool[Array, '#b #h l _']],
  keep: Sequence[Bool[Array, 'b h l _']] | None,
) -> Float[Array, 'b l h k']:
  """The values of all parts, weighted by one softmax of their scores, in the dtype of the values.

  Args:
    rate: of dropout.
    scores: of every part, float32 or wider.
    values: with the heads of the scores.
    ok: which keys a query sees; exactly 0 results where it sees none.
    keep: the weights that dropout keeps, divided by 1 - rate; None: all of them.
  """
  return _forward(rate, scores, values, ok, keep)[0]


def _forward(
  rate: float, scores: list[Array], values: list[Array], ok: list[Array], keep: Sequence[Array] | None
) -> tuple[Array, Any]:
  numerators, total_bhl1 = exponentials(scores, ok)
  dtype, wide = values[0].dtype, total_bhl1.dtype
  sums_blhk = [
    jnp.einsum('bhlm,bmhk->blhk', e_bhlm.astype(dtype), v_bmhk).astype(wide)
    for e_bhlm, v_bmhk in zip(_kept(numerators, keep), values, strict=True)
  ]
  total_blh1 = jnp.moveaxis(total_bhl1, 1, 2) * (1 - rate)
  context_blhk = (functools.reduce(jnp.add, sums_blhk) / total_blh1).astype(dtype)
  return context_blhk, (numerators, total_bhl1, values, keep)


def _backward(rate: float, residuals: Any, g_blhk: Array) -> tuple[Any, ...]:
  """With weights p and their cotangents c = g·v, those of the scores are p (c - Σ p c).

  Unlike the derivative of a quotient they do not need the context, so that a backward pass which computes the
  scores again does not multiply them with the values again.
  """
  numerators, total_bhl1, values, keep = residuals
  wide = total_bhl1.dtype
  g_blhk = (g_blhk.astype(wide) / (jnp.moveaxis(total_bhl1, 1, 2) * (1 - rate))).astype(g_blhk.dtype)
  cotangents = [jnp.einsum('blhk,bmhk->bhlm', g_blhk, v_bmhk).astype(wide) for v_bmhk in values]
  cotangents = _kept(cotangents, keep)  # c / total.
  means_bhl1 = [(e * c).sum(axis=-1, keepdims=True) for e, c in zip(numerators, cotangents, strict=True)]
  mean_bhl1 = functools.reduce(jnp.add, means_bhl1) / total_bhl1
  of_scores = [e * (c - mean_bhl1) for e, c in zip(numerators, cotangents, strict=True)]
  of_values = [
    jnp.einsum('bhlm,blhk->bmhk', e_bhlm.astype(g_blhk.dtype), g_blhk) for e_bhlm in _kept(numerators, keep)
  ]
  return of_scores, of_values, None, None


weighted_values.defvjp(_forward, _backward)


def _kept(arrays: Sequence[Array], keep: Sequence[Array] | None) -> list[Array]:
  if keep is None:
    return list(arrays)
  return [jnp.where(kept, array, 0) for kept, array in zip(keep, arrays, strict=True)]
