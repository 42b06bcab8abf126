"""The continuous signal X(t) = Bᵀψ(t), t in [0, 1], 0 the oldest, 1 the newest: contraction and update.

A write samples the old signal at P points, puts the samples at τ(1..P)/P and the l new values at
τ + (1-τ)(1..l)/l, and regresses again. Positions are fixed by the spec, so with constant G

    B' = G_pastᵀ Ψ(points)ᵀ B + G_newᵀ X        = A B + C X for evenly spaced points
    B' = G_firstᵀ X                             = C1 X for the first write of a document

A constant τ forgets by a constant rate. With contraction 'equal' the write that follows k others has
τ = k/(k+1), so that every segment keeps the same share of [0, 1]; its positions are then known at run time
only, and every write solves its own regression (core/ridge.py).

Source: ∞-former, section 3.2; published code: long_term_attention.py (`value_function`, `update_inf`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.basis import Basis, constant, evaluate, evaluate_on_host
from infformer_jax.core.ridge import ridge_operator, ridge_solve
from infformer_jax.core.signal_spec import SignalSpec, even_points, first_times, later_times, new_times


class Operators(NamedTuple):
  """The constants of the writes after the first one: read-only float64."""

  past_pn: Float[np.ndarray, 'p n']  # G_past
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
  later = ridge_operator(spec.basis, times, spec.ridge)[values]
  past_pn, new_ln = later[: spec.num_samples], later[spec.num_samples :]
  carry_nn = past_pn.T @ evaluate_on_host(spec.basis, even_points(spec.num_samples))
  return Operators(*map(constant, (past_pn, new_ln, carry_nn)))


@functools.cache
def first_operator(spec: SignalSpec) -> Float[np.ndarray, 'l n']:
  """G_first = C1ᵀ, the constant of the first write: read-only float64, solved once per spec."""
  times, values = first_times(spec)
  return constant(ridge_operator(spec.basis, times, spec.ridge)[values])


def _apply(
  operator_pn: Float[np.ndarray, 'p n'], x_bpd: Float[Array, '*b p d'], dtype: jax.typing.DTypeLike
) -> Float[Array, '*b n d']:
  """Gᵀ X in the dtype that accumulates."""
  x_bpd = x_bpd.astype(dtype)
  return jnp.einsum('pn,...pd->...nd', jnp.asarray(operator_pn, dtype), x_bpd, precision='highest')


@functools.partial(jax.jit, static_argnames='spec')
def first_write(spec: SignalSpec, x_bld: Float[Array, 'b l d']) -> Float[Array, 'b n d']:
  """C1 X, at least float32: the signal of the first l values of a document."""
  return _apply(first_operator(spec), x_bld, at_least_float32(x_bld.dtype))


@functools.partial(jax.jit, static_argnames='spec')
def update_even(
  spec: SignalSpec, b_bnd: Float[Array, 'b n d'], x_bld: Float[Array, 'b l d']
) -> Float[Array, 'b n d']:
  """A B + C X: the old signal sampled at (1..P)/P. In B's dtype, at least float32."""
  dtype = at_least_float32(b_bnd.dtype)
  constants = operators(spec)
  return _apply(constants.carry_nn.T, b_bnd, dtype) + _apply(constants.new_ln, x_bld, dtype)


@functools.partial(jax.jit, static_argnames='spec')
def update_at(
  spec: SignalSpec,
  b_bnd: Float[Array, 'b n d'],
  x_bld: Float[Array, 'b l d'],
  points_bp: Float[Array, 'b p'],
) -> Float[Array, 'b n d']:
  """G_pastᵀ Ψ(points)ᵀ B + C X: the old signal sampled at given points, in increasing order.

  The samples are still written at τ(1..P)/P. In B's dtype, at least float32.
  """
  dtype = at_least_float32(b_bnd.dtype)
  constants = operators(spec)
  # G_pastᵀ Psi first: the points carry no gradient, so that nothing of it is kept for the backward pass.
  carry_bmn = _apply(constants.past_pn, evaluate(spec.basis, points_bp.astype(dtype)), dtype)
  old_bnd = jnp.einsum('...mn,...nd->...md', carry_bmn, b_bnd.astype(dtype), precision='highest')
  return old_bnd + _apply(constants.new_ln, x_bld, dtype)


@functools.partial(jax.jit, static_argnames='spec')
def update_equal(
  spec: SignalSpec,
  b_bnd: Float[Array, 'b n d'],
  writes_b: Int[Array, 'b'],
  x_bld: Float[Array, 'b l d'],
  points_bp: Float[Array, 'b p'] | None = None,
) -> Float[Array, 'b n d']:
  """The write after k others with τ = k/(k+1): every row solves its own regression.

  A row costs a QR decomposition of [P + l + n, n], about 4 n² (P + l + n) operations (0.3 s on a CPU core
  for n, l, P 512), instead of a product with constants. In B's dtype, at least float32; the result of rows
  without writes is meaningless.
  """
  dtype = at_least_float32(b_bnd.dtype)
  even_bp = jnp.broadcast_to(
    jnp.asarray(even_points(spec.num_samples), dtype), (len(b_bnd), spec.num_samples)
  )
  old_bpd = sample(spec.basis, b_bnd.astype(dtype), even_bp if points_bp is None else points_bp)
  writes_b = writes_b.astype(dtype)
  tau_b1 = spec.tau(writes_b)[:, None]
  times_bt = jnp.concatenate([tau_b1 * even_bp, new_times(spec, writes_b)], axis=1)
  values_btd = jnp.concatenate([old_bpd, x_bld.astype(dtype)], axis=1)
  return ridge_solve(spec.basis, times_bt, values_btd, spec.ridge)


@functools.partial(jax.jit, static_argnames='basis')
def sample(
  basis: Basis, b_bnd: Float[Array, 'b n d'], points_bp: Float[Array, 'b p']
) -> Float[Array, 'b p d']:
  """The signal at the given times, in B's dtype."""
  psi_bpn = evaluate(basis, points_bp.astype(b_bnd.dtype))
  return jnp.einsum('...pn,...nd->...pd', psi_bpn, b_bnd, precision='highest')


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
  first_bnd = first_write(spec, x_bld.astype(dtype))
  if spec.contraction == 'equal':
    later_bnd = update_equal(spec, b_bnd, writes_b, x_bld, points_bp)
  elif points_bp is None:
    later_bnd = update_even(spec, b_bnd, x_bld)
  else:
    later_bnd = update_at(spec, b_bnd, x_bld, points_bp)
  return jnp.where((writes_b == 0)[:, None, None], first_bnd, later_bnd)
