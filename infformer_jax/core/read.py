"""The read: every head locates a density over time, and its context is the signal's expectation under it.

With K = B W_K and V = B W_V the published read is s = q Kᵀ/√k, μ = sigmoid(w_μ·s),
σ² = softplus(w_σ·s), r_n = E[ψ_n], context = r V. Because w_μ does not depend on the query,
w_μ·s = q·((Bᵀw_μ) W_K)/√k: keys and scores are never formed, and a query's scores cost k instead of n k.
What does not depend on the query is `prepare`d once per segment; `read` then answers any number of tokens.

Source: ∞-former, section 3.1 and equations 10 to 14; published code: long_term_attention.py (`forward`).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from infformer_jax.config import ConfigError
from infformer_jax.core.basis import Basis
from infformer_jax.core.density import DENSITIES, Density, expectation, moment_match
from infformer_jax.types import Array, pytree


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadSpec:
  """How a head turns its scores into a density.

  Raises:
    ConfigError: an unknown density; a floor that is not positive.
  """

  density: Density = 'gaussian'
  renormalize: bool = False  # to [0, 1]; the published density is over all reals
  variance_floor: float = 1e-6  # σ² is never smaller, in units of the whole signal squared
  softplus_offset: float = 0.0  # added inside the softplus, so that σ can start small
  affine: bool = True  # False: moment matching from softmax scores, which forms the keys

  def __post_init__(self) -> None:
    if self.density not in DENSITIES:
      raise ConfigError(f'density = {self.density!r}; use one of {", ".join(map(repr, DENSITIES))}.')
    if self.variance_floor <= 0:
      raise ConfigError(f'variance_floor = {self.variance_floor} must be positive, such as 1e-6.')


@pytree
class Prepared:
  """What stays constant while one segment is read."""

  values_bnhk: Array  # V = B W_V
  keys_bmhk: Array  # m = 2: (Bᵀw_μ) W_K and (Bᵀw_σ) W_K; without affines m = n: K = B W_K


@pytree
class Answer:
  """What a read gives. μ and σ² locate the densities, in units of the whole signal (squared)."""

  context_blhk: Array
  mu_bhl: Array
  sigma_sq_bhl: Array


@jax.jit
def prepare(
  b_bnd: Float[Array, 'b n d'],
  w_k_dhk: Float[Array, 'd h k'],
  w_v_dhk: Float[Array, 'd h k'],
  w_mu_n: Float[Array, 'n'] | None = None,
  w_sigma_n: Float[Array, 'n'] | None = None,
) -> Prepared:
  """The part of a read that no query enters.

  Args:
    b_bnd: the signal's coefficients.
    w_k_dhk, w_v_dhk: key and value projections; the values have w_v's dtype.
    w_mu_n, w_sigma_n: the affines, shared by the heads; None for the variant without them.
  """
  values_bnhk = jnp.einsum('bnd,dhk->bnhk', b_bnd.astype(w_v_dhk.dtype), w_v_dhk)
  pooled_bmd = b_bnd
  if w_mu_n is not None and w_sigma_n is not None:
    w_mn = jnp.stack([w_mu_n, w_sigma_n]).astype(b_bnd.dtype)
    pooled_bmd = jnp.einsum('mn,bnd->bmd', w_mn, b_bnd, precision='highest')
  keys_bmhk = jnp.einsum('bmd,dhk->bmhk', pooled_bmd, w_k_dhk.astype(b_bnd.dtype), precision='highest')
  return Prepared(values_bnhk=values_bnhk, keys_bmhk=keys_bmhk)


def scores(prepared: Prepared, q_blhk: Float[Array, 'b l h k']) -> Float[jax.Array, 'b h l m']:
  """q·key/√k: the scores or, with the affines, what those make of them; in the keys' dtype."""
  q_blhk = q_blhk.astype(prepared.keys_bmhk.dtype) * q_blhk.shape[-1] ** -0.5
  return jnp.einsum('blhk,bmhk->bhlm', q_blhk, prepared.keys_bmhk, precision='highest')


@functools.partial(jax.jit, static_argnames=('spec', 'basis'))
def read(spec: ReadSpec, basis: Basis, prepared: Prepared, q_blhk: Float[Array, 'b l h k']) -> Answer:
  """Reads the signal for some queries; densities and expectations are computed in the keys' dtype.

  Args:
    prepared: of `prepare`, with the affines exactly if spec.affine.
    q_blhk: queries before any position.
  Returns:
    context in q's dtype; μ and σ² in the keys'.
  """
  scores_bhlm = scores(prepared, q_blhk)
  if spec.affine:
    mu_bhl = jax.nn.sigmoid(scores_bhlm[..., 0])
    sigma_sq_bhl = jax.nn.softplus(scores_bhlm[..., 1] + spec.softplus_offset)
  else:
    mu_bhl, sigma_sq_bhl = moment_match(basis, jax.nn.softmax(scores_bhlm))
  sigma_sq_bhl = jnp.maximum(sigma_sq_bhl, spec.variance_floor)
  r_bhln = expectation(basis, spec.density, mu_bhl, sigma_sq_bhl, renormalize=spec.renormalize)
  context_blhk = jnp.einsum(
    'bhln,bnhk->blhk', r_bhln.astype(prepared.values_bnhk.dtype), prepared.values_bnhk
  )
  return Answer(context_blhk=context_blhk.astype(q_blhk.dtype), mu_bhl=mu_bhl, sigma_sq_bhl=sigma_sq_bhl)
