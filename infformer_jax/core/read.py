"""The read: every head locates a density over time, and its context is the signal's expectation under it.

With K = B W_K and V = B W_V the published read is s = q Kᵀ/√k, μ = sigmoid(w_μ·s),
σ² = softplus(w_σ·s), r_n = E[ψ_n], context = r V. Because w_μ does not depend on the query,
w_μ·s = q·((Bᵀw_μ) W_K)/√k: keys and scores are never formed, and a query's scores cost k instead of n k.
What does not depend on the query is `prepare`d once per segment; `read` then answers any number of tokens.

A mixture has K components with affines of their own and a third one for their weights, softmax(w_π·s):
r = Σ π_c E_c[ψ]. The density 'gibbs' (core/gibbs.py) has no affines and needs the scores at all its nodes.

Source: ∞-former, section 3.1 and equations 10 to 14; published code: long_term_attention.py (`forward`).
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from infformer_jax.core import gibbs
from infformer_jax.core.basis import Basis
from infformer_jax.core.density import bin_masses, expectation, moment_match
from infformer_jax.core.pytree import pytree
from infformer_jax.errors import ConfigError

Density = Literal['gaussian', 'sparsemax', 'gibbs']


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadSpec:
  """How a head turns its scores into a density.

  Raises:
    ConfigError: a value out of its range, or one for which the density has no use.
  """

  density: Density = 'gaussian'
  renormalize: bool = False  # to [0, 1]; the published density is over all reals
  variance_floor: float = 1e-6  # σ² is never smaller, in units of the whole signal squared
  softplus_offset: float = 0.0  # added inside the softplus, so that σ can start small
  spread: bool = False  # offsets inside the sigmoid let heads and components start evenly over [0, 1]
  affine: bool = True  # False: moment matching from softmax scores, which forms the keys
  mixture: int = 1  # K components; 1 is the paper
  grid: int | None = None  # of 'gibbs'

  def __post_init__(self) -> None:
    if self.density not in ('gaussian', 'sparsemax', 'gibbs'):
      raise ConfigError(f"density = {self.density!r}; use one of 'gaussian', 'sparsemax', 'gibbs'.")
    if self.variance_floor <= 0:
      raise ConfigError(f'variance_floor = {self.variance_floor} must be positive, such as 1e-6.')
    if self.mixture < 1:
      raise ConfigError(f'mixture = {self.mixture} must be at least 1, which is the paper.')
    if self.density == 'gibbs' and (self.mixture > 1 or self.renormalize or not self.affine):
      raise ConfigError(
        f"density = 'gibbs' lies in [0, 1] and has neither affines nor components: mixture = {self.mixture}, "
        f'renormalize = {self.renormalize} and affine = {self.affine} must be 1, False and True.'
      )
    if self.mixture > 1 and not self.affine:
      raise ConfigError(f'mixture = {self.mixture} needs affines; use affine = True, or mixture = 1.')
    if self.density != 'gibbs' and self.grid is not None:
      raise ConfigError(f"gibbs_grid = {self.grid} is for density = 'gibbs'; use None.")


@pytree
class Prepared:
  """What stays constant while one segment is read. Of 'gibbs': the signal at its nodes, in place of B."""

  values_bnhk: Array  # V = B W_V
  keys_bmhk: Array  # m = 2 K: (Bᵀw_μ) W_K and (Bᵀw_σ) W_K; 3 K in a mixture; without affines n: K = B W_K


@pytree
class Located:
  """Densities by their parameters, in units of the whole signal (squared); c components."""

  mu_bhlc: Array
  sigma_sq_bhlc: Array
  weight_bhlc: Array  # summing to 1


@pytree
class OnNodes:
  """Gibbs densities, by the mass of each node."""

  weight_bhlp: Array


@pytree
class Answer:
  """What a read gives."""

  context_blhk: Array
  density: Any  # Located, or OnNodes of 'gibbs'


@jax.jit
def prepare(
  b_bnd: Float[Array, 'b n d'],
  w_k_dhk: Float[Array, 'd h k'],
  w_v_dhk: Float[Array, 'd h k'],
  *affines: Float[Array, 'n'],
) -> Prepared:
  """The part of a read that no query enters.

  Args:
    b_bnd: the signal's coefficients; for 'gibbs' the signal at the nodes, `gibbs.at_nodes`.
    w_k_dhk, w_v_dhk: key and value projections; the values have w_v's dtype.
    affines: w_μ of every component, then w_σ, then in a mixture w_π, shared by the heads; none for 'gibbs'
      and the variant without them.
  """
  values_bnhk = jnp.einsum('bnd,dhk->bnhk', b_bnd.astype(w_v_dhk.dtype), w_v_dhk)
  pooled_bmd = b_bnd
  if affines:
    w_mn = jnp.stack(affines).astype(b_bnd.dtype)
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
    prepared: of `prepare`, with the affines exactly if the spec has them.
    q_blhk: queries before any position.
  Returns:
    context in q's dtype; the density in the keys'.
  """
  scores_bhlm = scores(prepared, q_blhk)
  density: Any
  if spec.density == 'gibbs':
    r_bhln = gibbs.weights(basis, spec.grid, scores_bhlm)
    density = OnNodes(weight_bhlp=r_bhln)
  else:
    density = _located(spec, basis, scores_bhlm)
    r_bhlcn = expectation(
      basis, spec.density, density.mu_bhlc, density.sigma_sq_bhlc, renormalize=spec.renormalize
    )
    r_bhln = (density.weight_bhlc[..., None] * r_bhlcn).sum(axis=-2)
  context_blhk = jnp.einsum(
    'bhln,bnhk->blhk', r_bhln.astype(prepared.values_bnhk.dtype), prepared.values_bnhk
  )
  return Answer(context_blhk=context_blhk.astype(q_blhk.dtype), density=density)


def _located(spec: ReadSpec, basis: Basis, scores_bhlm: Array) -> Located:
  weight_bhlc = jnp.ones((*scores_bhlm.shape[:-1], 1), scores_bhlm.dtype)
  if spec.affine:
    mu_bhlc, sigma_bhlc, *weights = jnp.split(scores_bhlm, 2 if spec.mixture == 1 else 3, axis=-1)
    if spec.spread:
      mu_bhlc += _offsets(scores_bhlm.shape[1], spec.mixture).astype(mu_bhlc.dtype)
    mu_bhlc, sigma_sq_bhlc = jax.nn.sigmoid(mu_bhlc), jax.nn.softplus(sigma_bhlc + spec.softplus_offset)
    if weights:
      weight_bhlc = jax.nn.softmax(weights[0])
  else:
    moments = moment_match(basis, jax.nn.softmax(scores_bhlm))
    mu_bhlc, sigma_sq_bhlc = (a_bhl[..., None] for a_bhl in moments)
  sigma_sq_bhlc = jnp.maximum(sigma_sq_bhlc, spec.variance_floor)
  return Located(mu_bhlc=mu_bhlc, sigma_sq_bhlc=sigma_sq_bhlc, weight_bhlc=weight_bhlc)


def _offsets(num_heads: int, mixture: int) -> Array:
  """[h, 1, c]: what the sigmoid turns into evenly spaced times, those of a head as far apart as can be."""
  times_hc = (np.arange(mixture) + (np.arange(num_heads)[:, None] + 0.5) / num_heads) / mixture
  return jnp.asarray(np.log(times_hc / (1 - times_hc))[:, None])


@functools.partial(jax.jit, static_argnames=('spec', 'basis', 'num_bins', 'margin'))
def masses(
  spec: ReadSpec,
  basis: Basis,
  density: Located | OnNodes,
  ok_bl: Bool[Array, 'b l'],
  *,
  num_bins: int,
  margin: float = 0.0,
) -> Float[jax.Array, 'b h {num_bins}']:
  """The mass that each head gives to j equal bins of [0, 1], summed over the real queries; no gradient.

  Args:
    density: of an answer.
    ok_bl: the real queries.
    margin: by which the outer edges lie outside [0, 1]; 'gibbs' does not reach there.
  """
  density = jax.lax.stop_gradient(density)
  ok_bhl = ok_bl[:, None]
  if isinstance(density, OnNodes):
    weight_bhp = jnp.where(ok_bhl[..., None], density.weight_bhlp, 0).sum(axis=2)
    shares_pj = jnp.asarray(gibbs.bin_shares(basis, spec.grid, num_bins), weight_bhp.dtype)
    return jnp.einsum('bhp,pj->bhj', weight_bhp, shares_pj, precision='highest')
  assert spec.density != 'gibbs'
  masses_bhlcj = bin_masses(
    spec.density, density.mu_bhlc, density.sigma_sq_bhlc, num_bins=num_bins, margin=margin
  )
  if spec.renormalize:
    masses_bhlcj /= masses_bhlcj.sum(axis=-1, keepdims=True)
  masses_bhlcj = jnp.where(ok_bhl[..., None, None], density.weight_bhlc[..., None] * masses_bhlcj, 0)
  return masses_bhlcj.sum(axis=(2, 3))
