"""Sticky memories: the next write samples the old signal where the heads have just read it.

A histogram of j bins of [0, 1] holds the mass of the densities (`read.masses`), summed over heads and real
queries; the next write samples points with this density. Neither carries a gradient.

Source: ∞-former, section 3.4. Differs from the published code, which draws the left edges of its bins
(`left_edge_points`) and thereby loses capacity: `points` inverts the interpolated cumulative sum.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from infformer_jax.core.signal_spec import even_points

UNIFORM_SHARE = 0.01
"""Mixed in before inverting: without it the inverse has jumps, where one ulp moves a point far."""

PUBLISHED_MARGIN = 1e-6
"""The published histogram's outer edges are at -1e-6 and 1 + 1e-6."""


@functools.partial(jax.jit, static_argnames='num_points')
def points(
  histogram_bj: Float[Array, 'b j'],
  num_points: int,
  *,
  key_b: Array | None = None,
  start_b: Float[Array, 'b'] | None = None,
) -> Float[Array, 'b {num_points}']:
  """P increasing points of [0, 1] with the histogram's density, mixed with 1 % of a uniform density.

  A start keeps the share of [0, 1] before it, which is empty: the even points in it stay, and the others have
  the histogram's density on [start, 1].

  The inverse of the linearly interpolated cumulative sum at (1..P)/P: the last point is exactly 1, and a
  uniform histogram, or one without any mass, gives exactly the points of the even update.

  Args:
    histogram_bj: masses, not normalized.
    num_points: P.
    key_b: one key per row for sorted random u instead of (1..P)/P.
    start_b: where the document begins in [0, 1]; None: at 0.
  """
  histogram_bj = jax.lax.stop_gradient(histogram_bj)
  dtype, num_bins = histogram_bj.dtype, histogram_bj.shape[-1]
  u_bp = jnp.broadcast_to(jnp.asarray(even_points(num_points), dtype), (histogram_bj.shape[0], num_points))
  if key_b is not None:
    u_bp = jnp.sort(jax.vmap(lambda key: jax.random.uniform(key, (num_points,), dtype))(key_b))
  # Only the excess of the cumulative sum over the uniform one is inverted, from deviations that are exactly
  # zero for a uniform histogram: t = u - excess(u).
  deviation_bj = histogram_bj - histogram_bj[:, :1]
  deviation_bj -= deviation_bj.mean(axis=-1, keepdims=True)
  total_b1 = histogram_bj.sum(axis=-1, keepdims=True)
  excess_bj = (1 - UNIFORM_SHARE) * jnp.cumsum(deviation_bj, axis=-1) / jnp.where(total_b1 > 0, total_b1, 1)
  excess_bj = jnp.pad(excess_bj[:, :-1], ((0, 0), (1, 1)))  # At the j + 1 edges; exactly 0 at both ends.
  cumulative_bj = excess_bj + (jnp.arange(num_bins + 1, dtype=dtype) / num_bins)[None]
  targets_bp, first_b1 = u_bp, jnp.zeros((1, 1), dtype)
  if start_b is not None:
    first_b1 = start_b[:, None]
    edges_j = jnp.arange(num_bins + 1, dtype=dtype) / num_bins
    excess_b1 = jax.vmap(jnp.interp, in_axes=(0, None, 0))(first_b1, edges_j, excess_bj)
    targets_bp = u_bp + excess_b1 * (1 - u_bp) / (1 - first_b1)
  points_bp = targets_bp - jax.vmap(jnp.interp)(targets_bp, cumulative_bj, excess_bj)
  return jnp.where(u_bp < first_b1, u_bp, jnp.clip(points_bp, first_b1, 1))


@functools.partial(jax.jit, static_argnames='num_points')
def left_edge_points(
  histogram_bj: Float[Array, 'b j'], num_points: int, *, key_b: Array | None = None
) -> Float[Array, 'b {num_points}']:
  """P left edges of the bins in increasing order, drawn as published; without any mass uniformly.

  Without a key they are stratified: the bins that hold the middles of P equal shares of the mass.
  """
  histogram_bj = jax.lax.stop_gradient(histogram_bj)
  dtype, num_bins = histogram_bj.dtype, histogram_bj.shape[-1]
  histogram_bj = jnp.where(histogram_bj.sum(axis=-1, keepdims=True) > 0, histogram_bj, 1)
  if key_b is None:
    cumulative_bj = jnp.cumsum(histogram_bj, axis=-1)
    shares_p = (jnp.arange(num_points, dtype=dtype) + 0.5) / num_points
    bins_bp = jax.vmap(lambda total_j: jnp.searchsorted(total_j, shares_p * total_j[-1]))(cumulative_bj)
  else:
    draw = functools.partial(jax.random.categorical, shape=(num_points,))
    bins_bp = jnp.sort(jax.vmap(lambda key, logits_j: draw(key, logits_j))(key_b, jnp.log(histogram_bj)))
  return jnp.minimum(bins_bp, num_bins - 1).astype(dtype) / num_bins
