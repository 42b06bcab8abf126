"""The Gibbs density: p(t) ∝ exp(score of the query with the signal at t), over [0, 1].

The score q·(X(t) W_K)/√k is that of a softmax attention whose keys are a function of time. Integrals
are sums over the nodes of the basis' quadrature, so that a read is a weighted softmax attention to the signal
at the nodes: exact for rectangular cells, by the trapezoidal rule for the other families.

Source: Santos, Farinhas, McNamee, Martins, "∞-Video" (2025), which reads by such densities without training.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from infformer_jax.core.arrays import on_last_axis
from infformer_jax.core.basis import Basis, constant, evaluate_on_host
from infformer_jax.core.density import bin_edges
from infformer_jax.core.pytree import pytree
from infformer_jax.core.read import ReadSpec


@pytree
class OnNodes:
  """Gibbs densities, by the mass of each node."""

  weight_bhlp: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class GibbsRead(ReadSpec):
  """A read by Gibbs densities, which needs the scores at all nodes and has no affines."""

  gibbs_grid: int | None = None  # points of the quadrature; None: the basis' default

  @property
  def num_affines(self) -> int:
    return 0

  def check(self, basis: Basis) -> None:
    basis.quadrature(self.gibbs_grid)

  def readable(self, basis: Basis, b_bnd: Float[Array, 'b n d']) -> Float[Array, 'b p d']:
    """The signal at the nodes, in B's dtype."""
    basis_pn = jnp.asarray(functions_at_nodes(basis, self.gibbs_grid), b_bnd.dtype)
    return jnp.einsum('pn,bnd->bpd', basis_pn, b_bnd, precision='highest')

  def locate(
    self, basis: Basis, scores_bhlm: Float[Array, 'b h l p'], start_b: Float[Array, 'b'] | None = None
  ) -> OnNodes:
    """The mass of each node: E[f] is the sum of f at the nodes times these; 0 before the start."""
    nodes, dtype, ndim = basis.quadrature(self.gibbs_grid), scores_bhlm.dtype, scores_bhlm.ndim
    scores_bhlm += on_last_axis(jnp.asarray(np.log(nodes.weights_p), dtype), ndim)
    if start_b is not None:
      times_p = on_last_axis(jnp.asarray(nodes.times_p, dtype), ndim)
      scores_bhlm = jnp.where(times_p >= start_b[:, None, None, None], scores_bhlm, -jnp.inf)
    return OnNodes(weight_bhlp=jax.nn.softmax(scores_bhlm))

  def expected(self, basis: Basis, density: OnNodes) -> Float[Array, 'b h l p']:
    return density.weight_bhlp

  def masses(
    self, basis: Basis, density: OnNodes, ok_bl: Bool[Array, 'b l'], *, num_bins: int, margin: float
  ) -> Float[Array, 'b h {num_bins}']:
    """As ReadSpec.masses; no mass lies in the margin."""
    weight_bhp = jnp.where(ok_bl[:, None, :, None], density.weight_bhlp, 0).sum(axis=2)
    shares_pj = jnp.asarray(bin_shares(basis, self.gibbs_grid, num_bins), weight_bhp.dtype)
    return jnp.einsum('bhp,pj->bhj', weight_bhp, shares_pj, precision='highest')


@functools.cache
def functions_at_nodes(basis: Basis, gibbs_grid: int | None) -> Float[np.ndarray, 'p n']:
  """ψ_n at the nodes of the quadrature: read-only float64."""
  return constant(evaluate_on_host(basis, basis.quadrature(gibbs_grid).times_p))


@functools.cache
def bin_shares(basis: Basis, gibbs_grid: int | None, num_bins: int) -> Float[np.ndarray, 'p {num_bins}']:
  """The share of a node's mass in each of j equal bins of [0, 1]; a row sums to 1."""
  return constant(np.diff(basis.quadrature(gibbs_grid).cumulative(bin_edges(num_bins))))
