"""The continuous signal X(t) = Bᵀψ(t), t in [0, 1], 0 the oldest, 1 the newest: contraction and update.

A write samples the old signal at P points, puts the samples at τ(1..P)/P and the l new values at
τ + (1-τ)(1..l)/l, and regresses again. On a logarithmic axis it makes the samples l tokens older instead
(core/time_axis.py). Positions are fixed by the spec, so with constant G

    B' = G_pastᵀ Ψ(points)ᵀ B + G_newᵀ X        = A B + C X for evenly spaced points
    B' = G_firstᵀ X                             = C1 X for the first write of a document

A constant τ forgets by a constant rate, contraction 'log' by a power law; its first write is the update of an
empty signal, C1 = C. With contraction 'equal' the write that follows k others has τ = k/(k+1), so that every
segment keeps the same share of [0, 1]; its positions are then known at run time only, and every write solves
its own regression (core/ridge.py).

Source: ∞-former, section 3.2; published code: long_term_attention.py (`value_function`, `update_inf`).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.basis import Basis, constant, evaluate, evaluate_on_host
from infformer_jax.core.pytree import pytree
from infformer_jax.core.ridge import ridge_operator, ridge_solve
from infformer_jax.core.signal_spec import (
  SignalSpec,
  even_points,
  first_times,
  held_samples,
  later_times,
)


class Operators(NamedTuple):
  """The constants of the writes after the first one: read-only float64."""

  past_pn: Float[np.ndarray, 'p n']  # G_past; zero for samples that the write drops
  new_ln: Float[np.ndarray, 'l n']  # G_new = Cᵀ
  carry_nn: Float[np.ndarray, 'n n']  # A = G_pastᵀ Ψ(even)ᵀ


def operators(spec: SignalSpec, writes: int = 1) -> Operators:
  """Solved once per spec on the host, in float64 (40 to 400 ms for n up to 1024).

  Args:
    writes: k >= 1, where the contraction depends on it: the constants are those of the write after k others.
  """
  return _operators(spec, writes if spec.contraction == 'equal' else 1)


@functools.cache
def _operators(spec: SignalSpec, writes: int) -> Operators:
  times, values = later_times(spec, writes)
  held_p = held_samples(spec)
  later = ridge_operator(spec.basis, times, spec.ridge)[values]
  new_ln = later[held_p.sum() :]
  past_pn = np.zeros((spec.num_samples, spec.basis.num_basis))
  past_pn[held_p] = later[: held_p.sum()]
  carry_nn = past_pn.T @ evaluate_on_host(spec.basis, even_points(spec.num_samples))
  return Operators(*map(constant, (past_pn, new_ln, carry_nn)))


def growth(spec: SignalSpec) -> float:
  """The spectral radius of A: below 1 a signal is forgotten in the end, above 1 it grows without bound."""
  return float(np.abs(np.linalg.eigvals(operators(spec).carry_nn)).max())


@functools.cache
def first_operator(spec: SignalSpec) -> Float[np.ndarray, 'l n']:
  """G_first = C1ᵀ, the constant of the first write: read-only float64, solved once per spec."""
  times, values = first_times(spec)
  return constant(ridge_operator(spec.basis, times, spec.ridge)[values])


@pytree
class WriteConstants:
  """The operators that writes multiply with. As arguments of a program they are not embedded in it."""

  first_ln: Any  # arrays of the host or of a device
  new_ln: Any  # None: contraction 'equal', where every write solves its own regression
  old_mn: Any  # Aᵀ, m = n, for even sampling; else G_past, m = p


@functools.cache
def write_constants(spec: SignalSpec, *, even: bool, dtype: jax.typing.DTypeLike) -> WriteConstants:
  """The constants of `new_part` and `add_old_part`, on the host.

  Args:
    even: whether the old signal is sampled evenly, not at given points.
    dtype: of the coefficients.
  """
  first_ln = first_operator(spec).astype(dtype)
  if spec.contraction == 'equal':
    return WriteConstants(first_ln=first_ln, new_ln=None, old_mn=None)
  later = operators(spec)
  old_mn = later.carry_nn.T if even else later.past_pn
  return WriteConstants(first_ln=first_ln, new_ln=later.new_ln.astype(dtype), old_mn=old_mn.astype(dtype))


@functools.partial(jax.jit, static_argnames='spec')
def write(
  spec: SignalSpec,
  b_bnd: Float[Array, 'b n d'],
  writes_b: Int[Array, 'b'],
  x_bld: Float[Array, 'b l d'],
  points_bp: Float[Array, 'b p'] | None = None,
) -> Float[Array, 'b n d']:
  """One write of every row: the first of its document where writes_b is 0, an update elsewhere.

  Args:
    b_bnd: coefficients; those of rows without writes are ignored.
    writes_b: how many writes each row has had.
    x_bld: the l new values.
    points_bp: where the old signal is sampled; None: evenly.
  Returns:
    B' in B's dtype, at least float32.

  >>> from infformer_jax.core.basis_families import GaussianBasis
  >>> basis = GaussianBasis(num_basis=8, widths=(0.75,))
  >>> spec = SignalSpec(basis=basis, segment_length=4, num_samples=8, contraction=0.5, ridge=0.5)
  >>> write(spec, jnp.zeros((2, 8, 3)), jnp.array([0, 1]), jnp.ones((2, 4, 3))).shape
  (2, 8, 3)
  """
  dtype = at_least_float32(b_bnd.dtype)
  constants = write_constants(spec, even=points_bp is None, dtype=dtype)
  new_bnd = new_part(constants, writes_b, x_bld.astype(dtype))
  return add_old_part(spec, constants, b_bnd, writes_b, new_bnd, points_bp)


@jax.jit
def new_part(
  constants: WriteConstants, writes_b: Int[Array, 'b'], x_bld: Float[Array, 'b l d']
) -> Float[Array, 'b n d'] | Float[Array, 'b l d']:
  """What a write takes from the new values alone: C X, or C1 X where writes_b is 0; in the constants' dtype.

  It does not depend on the signal, so that one product serves the writes of a whole chunk. With contraction
  'equal' every write solves its own regression, and this is X.
  """
  first_ln, later_ln = jnp.asarray(constants.first_ln), constants.new_ln
  x_bld = x_bld.astype(first_ln.dtype)
  if later_ln is None:
    return x_bld
  operator_bln = jnp.where((writes_b == 0)[:, None, None], first_ln[None], later_ln[None])
  return jnp.einsum('bln,bld->bnd', operator_bln, x_bld, precision='highest')


@functools.partial(jax.jit, static_argnames='spec')
def add_old_part(
  spec: SignalSpec,
  constants: WriteConstants,
  b_bnd: Float[Array, 'b n d'],
  writes_b: Int[Array, 'b'],
  new_bnd: Float[Array, 'b n d'] | Float[Array, 'b l d'],
  points_bp: Float[Array, 'b p'] | None = None,
) -> Float[Array, 'b n d']:
  """The rest of `write`: A B, or G_pastᵀ Ψ(points)ᵀ B, added to `new_part` in rows with writes.

  The samples at the points are still written where those at (1..P)/P would be.
  """
  is_first = (writes_b == 0)[:, None, None]
  if constants.old_mn is None:
    later_bnd = _solve_again(spec, b_bnd, writes_b, new_bnd, points_bp)
    return jnp.where(is_first, _apply(constants.first_ln, new_bnd), later_bnd)
  b_bnd = jnp.where(is_first, 0, b_bnd.astype(new_bnd.dtype))
  if points_bp is None:
    return new_bnd + _apply(constants.old_mn, b_bnd)
  # G_pastᵀ Ψ first: the points carry no gradient, so that only this product is kept for the backward pass.
  carry_bmn = _apply(constants.old_mn, evaluate(spec.basis, points_bp.astype(b_bnd.dtype)))
  return new_bnd + jnp.einsum('bmn,bnd->bmd', carry_bmn, b_bnd, precision='highest')


def _apply(operator_pn: Array | np.ndarray, x_bpd: Float[Array, 'b p d']) -> Float[Array, 'b n d']:
  """Gᵀ X."""
  return jnp.einsum('pn,bpd->bnd', operator_pn, x_bpd, precision='highest')


def _solve_again(
  spec: SignalSpec,
  b_bnd: Float[Array, 'b n d'],
  writes_b: Int[Array, 'b'],
  x_bld: Float[Array, 'b l d'],
  points_bp: Float[Array, 'b p'] | None,
) -> Float[Array, 'b n d']:
  """The write after k others with τ = k/(k+1): every row solves its own regression.

  A row costs a QR decomposition of [P + l + n, n], about 4 n² (P + l + n) operations (0.3 s on a CPU core
  for n, l, P 512), instead of a product with constants. The result of rows without writes is meaningless.
  """
  dtype = x_bld.dtype
  even_bp = jnp.broadcast_to(
    jnp.asarray(even_points(spec.num_samples), dtype), (len(b_bnd), spec.num_samples)
  )
  old_bpd = sample(spec.basis, b_bnd.astype(dtype), even_bp if points_bp is None else points_bp)
  axis, writes_b = spec.axis, writes_b.astype(dtype)
  times_bt = jnp.concatenate([axis.moved(even_bp, writes_b[:, None]), axis.new_times(writes_b)], axis=1)
  values_btd = jnp.concatenate([old_bpd, x_bld], axis=1)
  return ridge_solve(spec.basis, times_bt, values_btd, spec.ridge)


@functools.partial(jax.jit, static_argnames='basis')
def sample(
  basis: Basis, b_bnd: Float[Array, 'b n d'], points_bp: Float[Array, 'b p']
) -> Float[Array, 'b p d']:
  """The signal at the given times, in B's dtype."""
  psi_bpn = evaluate(basis, points_bp.astype(b_bnd.dtype))
  return jnp.einsum('...pn,...nd->...pd', psi_bpn, b_bnd, precision='highest')
