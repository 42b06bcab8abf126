"""Ridge regression onto the basis: B = GᵀX with G = Ψᵀ(ΨΨᵀ + λI)⁻¹, Ψ[n, p] = ψ_n(t_p).

The condition number is 1e6 for the published widths, so a plain float32 solve has errors of several percent:
constants are solved on the host in float64, positions known only at run time by an orthogonalization.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from infformer_jax.core.arrays import at_least_float32
from infformer_jax.core.basis import Basis, evaluate, evaluate_on_host
from infformer_jax.errors import ConfigError


def ridge_operator(basis: Basis, t_p: Float[np.ndarray, 'p'], ridge: float) -> Float[np.ndarray, 'p n']:
  """G [p, n] for fixed positions, on the host in float64 by Cholesky; `signal.operators` caches it by spec.

  Source: ∞-former, equation 3; published code: `compute_G`, which inverts in float32.

  Args:
    t_p: times of the p values; [0, 1] is the signal.
    ridge: λ > 0.
  Raises:
    ConfigError: λ is negligible relative to ΨΨᵀ, which is singular without it.
  """
  psi_pn = evaluate_on_host(basis, t_p)
  try:
    factor_nn = np.linalg.cholesky(psi_pn.T @ psi_pn + ridge * np.eye(basis.num_basis))
  except np.linalg.LinAlgError:
    raise ConfigError(f'ridge = {ridge} must be larger to solve for this basis, such as 0.5') from None
  return np.linalg.solve(factor_nn.T, np.linalg.solve(factor_nn, psi_pn.T)).T


@functools.partial(jax.jit, static_argnames='basis')
def ridge_solve(
  basis: Basis, t_p: Float[Array, '*b p'], x_pd: Float[Array, '*b p d'], ridge: float | Float[Array, '']
) -> Float[Array, '*b n d']:
  """The coefficients B of values at times known only at run time; at least float32.

  Solves min |ΨᵀB - X|² + λ|B|² by QR of [Ψᵀ; √λ I]: never squares the condition
  number, so that float32 keeps three digits where the normal equations keep one.
  """
  dtype = at_least_float32(t_p.dtype, x_pd.dtype)
  psi_pn = evaluate(basis, jnp.asarray(t_p, dtype))
  damping_nn = jnp.sqrt(jnp.asarray(ridge, dtype)) * jnp.eye(basis.num_basis, dtype=dtype)
  damping_nn = jnp.broadcast_to(damping_nn, (*psi_pn.shape[:-2], *damping_nn.shape))
  with jax.default_matmul_precision('highest'):
    q, r_nn = jnp.linalg.qr(jnp.concatenate([psi_pn, damping_nn], axis=-2))
    q_pn = q[..., : psi_pn.shape[-2], :]
    return jax.scipy.linalg.solve_triangular(r_nn, jnp.swapaxes(q_pn, -1, -2) @ x_pd.astype(dtype))
