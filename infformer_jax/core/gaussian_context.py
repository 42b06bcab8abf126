"""Σ_n E[ψ_n] V_n for Gaussian densities and Gaussians of one width, without keeping the expectations.

With d_n = μ - c_n, i = 1/(σ² + w²) and e_n = exp(-i d_n²/2) the expectation is r_n = √(i/2π) e_n, and for a
cotangent g of the context and p_n = √(i/2π) (g·V_n) e_n

    ∂μ = -i Σ p_n d_n        ∂σ² = i/2 (i Σ p_n d_n² - Σ p_n)        ∂V_n = √(i/2π) Σ_l e_n g

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

from infformer_jax.core.basis_families import GaussianBasis

_FEW = 2**14
"""Expectations of a head up to which all heads are computed at once: a loop over heads would take longer."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def context(
  basis: GaussianBasis,
  mu_bhl: Float[Array, 'b h l'],
  sigma_sq_bhl: Float[Array, 'b h l'],
  values_bnhk: Float[Array, 'b n h k'],
) -> Float[Array, 'b l h k']:
  """The read r V, in the dtype of the values; equal to that of the general closed forms up to rounding.

  Args:
    basis: with one width.
    mu_bhl, sigma_sq_bhl: of a density over all reals.
    values_bnhk: V.
  """
  return _context(basis, mu_bhl, sigma_sq_bhl, values_bnhk)[0]


def _context(
  basis: GaussianBasis, mu_bhl: Array, sigma_sq_bhl: Array, values_bnhk: Array
) -> tuple[Array, tuple[Array, ...]]:
  by_head = _head_first(mu_bhl, 1), _head_first(sigma_sq_bhl, 1), _head_first(values_bnhk, 2)
  context_hblk = _each_head(functools.partial(_head_context, basis), *by_head)
  return jnp.moveaxis(context_hblk, 0, 2), (mu_bhl, sigma_sq_bhl, values_bnhk)


def _gradients(basis: GaussianBasis, kept: tuple[Array, ...], g_blhk: Array) -> tuple[Array, ...]:
  mu_bhl, sigma_sq_bhl, values_bnhk = kept
  by_head = _head_first(mu_bhl, 1), _head_first(sigma_sq_bhl, 1), _head_first(values_bnhk, 2)
  gradients = _each_head(functools.partial(_head_gradients, basis), *by_head, _head_first(g_blhk, 2))
  mu_hbl, sigma_sq_hbl, values_hbnk = gradients
  return jnp.moveaxis(mu_hbl, 0, 1), jnp.moveaxis(sigma_sq_hbl, 0, 1), jnp.moveaxis(values_hbnk, 0, 2)


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
  first_bln = p_bln * offset_bln
  second_bl = inverse_bl * (first_bln * offset_bln).sum(axis=-1)
  return -inverse_bl * first_bln.sum(-1), 0.5 * inverse_bl * (second_bl - p_bln.sum(-1)), values_gradient


def _unnormalized(
  basis: GaussianBasis, mu_bl: Array, sigma_sq_bl: Array
) -> tuple[Array, Array, Array, Array]:
  """d, e, i and √(i/2π)."""
  offset_bln = basis.offsets(mu_bl)
  inverse_bl = 1 / (sigma_sq_bl + float(basis.sigmas_n[0]) ** 2)
  e_bln = jnp.exp(-0.5 * inverse_bl[..., None] * offset_bln * offset_bln)
  return offset_bln, e_bln, inverse_bl, jnp.sqrt(inverse_bl / (2 * math.pi))


def _each_head(function: Callable, mu_hbl: Array, sigma_sq_hbl: Array, values_hbnk: Array, *g: Array) -> Any:
  """The function for every head: on a CPU one after the other, where all expectations exceed its caches."""
  arrays = mu_hbl, sigma_sq_hbl, values_hbnk, *g
  if mu_hbl[0].size * values_hbnk.shape[2] <= _FEW:
    return jax.vmap(function)(*arrays)

  def in_turn(*arrays: Array) -> Any:
    return jax.lax.map(lambda each: function(*each), arrays)

  return jax.lax.platform_dependent(*arrays, cpu=in_turn, default=jax.vmap(function))


def _head_first(a_bh: Array, axis: int) -> Array:
  return jnp.moveaxis(a_bh, axis, 0)
