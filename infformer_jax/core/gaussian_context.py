"""Σ_n E[ψ_n] V_n for Gaussian densities and Gaussians of one width, without keeping the expectations.

With d_n = μ - c_n, i = 1/(σ² + w²) and e_n = exp(-i d_n²/2) the expectation is r_n = √(i/2π) e_n, and for a
cotangent g of the context and p_n = √(i/2π) (g·V_n) e_n

    ∂μ = -i Σ p_n d_n        ∂σ² = i/2 (i Σ p_n d_n² - Σ p_n)        ∂V_n = Σ_l √(i/2π) e_n g

The backward pass computes e_n again from μ and σ², so that no [b, h, l, n] array is kept.

Source: ∞-former, equations 10 to 14, and their derivatives.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from infformer_jax.core import placement
from infformer_jax.core.basis_families import GaussianBasis

_FEW = 2**14
"""Expectations of a head up to which all heads are computed at once: a loop over heads would take longer."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def context(
  basis: GaussianBasis,
  mu_bhl: Float[Array, 'b h l'],
  sigma_sq_bhl: Float[Array, 'b h l'],
  values_bhnk: Float[Array, 'b h n k'],
) -> Float[Array, 'b l h k']:
  """The read r V, in the dtype of the values; equal to that of the general closed forms up to rounding.

  Args:
    basis: with one width.
    mu_bhl, sigma_sq_bhl: of a density over all reals.
    values_bhnk: V.
  Raises:
    ValueError: the basis has several widths.
  """
  if len(basis.widths) > 1:
    raise ValueError(f'widths = {basis.widths} must be one width; ReadSpec.context reads with several')
  return _context(basis, mu_bhl, sigma_sq_bhl, values_bhnk)[0]


def _context(
  basis: GaussianBasis, mu_bhl: Array, sigma_sq_bhl: Array, values_bhnk: Array
) -> tuple[Array, tuple[Array, ...]]:
  kept = mu_bhl, sigma_sq_bhl, values_bhnk
  return _by_head(functools.partial(_head_context, basis), kept, (1, 1, 1), 2), kept


def _gradients(basis: GaussianBasis, kept: tuple[Array, ...], g_blhk: Array) -> tuple[Array, ...]:
  return _by_head(functools.partial(_head_gradients, basis), (*kept, g_blhk), (1, 1, 1, 2), (1, 1, 1))


context.defvjp(_context, _gradients)


def _head_context(basis: GaussianBasis, mu_bl: Array, sigma_sq_bl: Array, values_bnk: Array) -> Array:
  _, e_bln, _, norm_bl = _unnormalized(basis, mu_bl, sigma_sq_bl)
  context_blk = jnp.einsum(
    'bln,bnk->blk', e_bln.astype(values_bnk.dtype), values_bnk, preferred_element_type=mu_bl.dtype
  )
  return (norm_bl[..., None] * context_blk).astype(values_bnk.dtype)


def _head_gradients(
  basis: GaussianBasis, mu_bl: Array, sigma_sq_bl: Array, values_bnk: Array, g_blk: Array
) -> tuple[Array, Array, Array]:
  offset_bln, e_bln, inverse_bl, norm_bl = _unnormalized(basis, mu_bl, sigma_sq_bl)
  g_blk = (norm_bl[..., None] * g_blk).astype(values_bnk.dtype)
  values_gradient = jnp.einsum('bln,blk->bnk', e_bln.astype(g_blk.dtype), g_blk)
  p_bln = jnp.einsum('blk,bnk->bln', g_blk, values_bnk, preferred_element_type=mu_bl.dtype) * e_bln
  # One pass over three operands, which XLA does not form in memory.
  moments = p_bln, p_bln * offset_bln, p_bln * offset_bln * offset_bln
  zero = jnp.zeros((), p_bln.dtype)
  zeroth_bl, first_bl, second_bl = jax.lax.reduce(moments, (zero,) * 3, _add_each, (2,))
  return -inverse_bl * first_bl, 0.5 * inverse_bl * (inverse_bl * second_bl - zeroth_bl), values_gradient


def _add_each(left: tuple[Array, ...], right: tuple[Array, ...]) -> tuple[Array, ...]:
  return tuple(map(jnp.add, left, right))


def _unnormalized(
  basis: GaussianBasis, mu_bl: Array, sigma_sq_bl: Array
) -> tuple[Array, Array, Array, Array]:
  """d, e, i and √(i/2π)."""
  offset_bln = basis.offsets(mu_bl)
  inverse_bl = 1 / (sigma_sq_bl + float(basis.sigmas_n[0]) ** 2)
  e_bln = jnp.exp(-0.5 * inverse_bl[..., None] * offset_bln * offset_bln)
  return offset_bln, e_bln, inverse_bl, jnp.sqrt(inverse_bl / (2 * math.pi))


def _by_head(function: Callable, arrays: tuple[Array, ...], axes: tuple[int, ...], out_axes: Any) -> Any:
  """The function of every head: on a CPU one after the other, where all expectations exceed its caches.

  Args:
    arrays: μ, σ², V and, in the backward pass, the cotangent.
    axes, out_axes: the axes of the heads, as of jax.vmap.
  """
  at_once = jax.vmap(function, in_axes=axes, out_axes=out_axes)
  mu_bhl, _, values_bhnk, *_ = arrays
  num_heads = mu_bhl.shape[1]
  if mu_bhl.size // num_heads * values_bhnk.shape[2] <= _FEW:
    return at_once(*arrays)

  def in_turn(*arrays: Array) -> Any:
    def of_head(head: Array) -> Any:
      pairs = zip(arrays, axes, strict=True)
      return function(*(jax.lax.dynamic_index_in_dim(a, head, axis, keepdims=False) for a, axis in pairs))

    results = jax.lax.map(of_head, jnp.arange(arrays[0].shape[1]))
    return jax.tree.map(lambda axis, a_h: jnp.moveaxis(a_h, 0, axis), out_axes, results)

  def chosen(*arrays: Array) -> Any:
    return jax.lax.platform_dependent(*arrays, cpu=in_turn, default=at_once)

  return placement.by_shard_of_heads(chosen, arrays, axes, out_axes)
