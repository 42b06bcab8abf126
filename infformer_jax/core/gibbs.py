"""The Gibbs density: p(t) ∝ exp of the score that the query gives the signal at t, over [0, 1].

The score q·(X(t) W_K)/√k is that of a softmax attention whose keys have become a function of time. Integrals
are sums over nodes, so that a read is a softmax attention to the signal at the nodes, weighted:

    rectangular        the N cells, exactly: a softmax over the N values of the score signal
    gaussian, fourier  the trapezoidal rule on a grid, 4 N + 1 points unless told otherwise

Source: Santos, Farinhas, McNamee, Martins, "∞-Video" (2025), which reads by such densities without training.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from infformer_jax.core.basis import Basis, constant, evaluate_on_host
from infformer_jax.core.density import bin_edges
from infformer_jax.errors import ConfigError


class Nodes(NamedTuple):
  """A quadrature of [0, 1]: read-only float64."""

  times_p: Float[np.ndarray, 'p']
  weights_p: Float[np.ndarray, 'p']  # summing to 1
  basis_pn: Float[np.ndarray, 'p n']  # ψ_n at the nodes


def size(basis: Basis, grid: int | None = None) -> int:
  """How many nodes there are.

  Args:
    grid: points of the trapezoidal rule, at least 2; None: 4 n + 1.
  Raises:
    ConfigError: a grid with a rectangular basis, which needs none, or of fewer than 2 points.
  """
  if basis.family == 'rectangular':
    if grid is not None:
      raise ConfigError(f"gibbs_grid = {grid} with basis = 'rectangular', which is exact without; use None.")
    return basis.num_basis
  if grid is not None and grid < 2:
    raise ConfigError(f'gibbs_grid = {grid} must be at least 2, such as {4 * basis.num_basis + 1}.')
  return 4 * basis.num_basis + 1 if grid is None else grid


@functools.cache
def nodes(basis: Basis, grid: int | None = None) -> Nodes:
  """Where the signal is looked at; arguments as of `size`."""
  count = size(basis, grid)
  if basis.family == 'rectangular':
    times_p, weights_p = basis.centres_n, np.full(count, 1 / count)
  else:
    times_p, weights_p = np.linspace(0, 1, count), np.full(count, 1 / (count - 1))
    weights_p[[0, -1]] /= 2
  return Nodes(*map(constant, (times_p, weights_p, evaluate_on_host(basis, times_p))))


@functools.partial(jax.jit, static_argnames=('basis', 'grid'))
def at_nodes(basis: Basis, grid: int | None, b_bnd: Float[Array, 'b n d']) -> Float[jax.Array, 'b p d']:
  """The signal at the nodes, in B's dtype."""
  basis_pn = jnp.asarray(nodes(basis, grid).basis_pn, b_bnd.dtype)
  return jnp.einsum('pn,bnd->bpd', basis_pn, b_bnd, precision='highest')


@functools.partial(jax.jit, static_argnames=('basis', 'grid'))
def weights(basis: Basis, grid: int | None, scores_p: Float[Array, '*b p']) -> Float[jax.Array, '*b p']:
  """Mass of each node, summing to 1: E[f] is the sum of f at the nodes times these."""
  log_weights_p = jnp.asarray(np.log(nodes(basis, grid).weights_p), scores_p.dtype)
  return jax.nn.softmax(scores_p + log_weights_p)


@functools.cache
def bin_shares(basis: Basis, grid: int | None, num_bins: int) -> Float[np.ndarray, 'p {num_bins}']:
  """Which share of a node's mass lies in each of j equal bins of [0, 1]; a row sums to 1.

  The density is constant over a cell and linear between the points of a grid.
  """
  times_p, weights_p, _ = nodes(basis, grid)
  edges = bin_edges(num_bins)
  if basis.family == 'rectangular':
    cumulative_pj = np.clip((edges - times_p[:, None]) * basis.num_basis + 0.5, 0, 1)
  else:
    step = times_p[1]
    u = np.clip((edges - times_p[:, None]) / step, -1, 1)
    cumulative_pj = step / weights_p[:, None] * (0.5 + u - 0.5 * u * np.abs(u))
  return constant(np.diff(cumulative_pj))
