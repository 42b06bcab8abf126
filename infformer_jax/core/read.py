"""A read: scores of a query with the signal, a density from them, and the signal's expectation under it.

With K = B W_K and V = B W_V the published read is s = q Kᵀ/√k, μ = sigmoid(w_μ·s),
σ² = softplus(w_σ·s), r_n = E[ψ_n], context = r V. Because w_μ does not depend on the query,
w_μ·s = q·((Bᵀw_μ) W_K)/√k: no keys are formed, and computing a query's scores takes O(k), not O(n k).
What does not depend on the query is `prepare`d once per segment; `read` then answers any number of tokens.

The spec defines how scores become a density: core/located.py (the paper's) or core/gibbs.py.

Source: ∞-former, section 3.1 and equations 10 to 14; published code: long_term_attention.py (`forward`).
"""

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from infformer_jax.core.basis import Basis
from infformer_jax.core.pytree import pytree


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadSpec(abc.ABC):
  """How a head computes a density from its scores, and a read from the density: a hashable value.

  A density is a pytree that each spec defines; its leaves have the axes [b, h, l] first.
  """

  @property
  @abc.abstractmethod
  def num_affines(self) -> int:
    """How many affine functions of the scores locate the density; 0: it needs the scores themselves."""

  @abc.abstractmethod
  def check(self, basis: Basis) -> None:
    """Raises ConfigError where this read cannot read a signal on the basis."""

  def readable(self, basis: Basis, b_bnd: Float[Array, 'b n d']) -> Float[Array, 'b m d']:
    """What `prepare` projects to keys and values: the coefficients, unless a spec overrides it."""
    return b_bnd

  @abc.abstractmethod
  def locate(
    self, basis: Basis, scores_bhlm: Float[Array, 'b h l m'], start_b: Float[Array, 'b'] | None = None
  ) -> Any:
    """The densities, from the scores or from affine functions of them; `start_b` as in `Prepared`."""

  @abc.abstractmethod
  def expected(self, basis: Basis, density: Any) -> Float[Array, 'b h l n']:
    """The weights of the values of `prepare`, whose weighted sum is the read."""

  def context(
    self, basis: Basis, density: Any, values_bhnk: Float[Array, 'b h n k']
  ) -> Float[Array, 'b l h k']:
    """The weighted sum of the values, in their dtype. A spec overrides it where a sum can do with less."""
    r_bhln = self.expected(basis, density).astype(values_bhnk.dtype)
    return jnp.einsum('bhln,bhnk->blhk', r_bhln, values_bhnk)

  @abc.abstractmethod
  def masses(
    self, basis: Basis, density: Any, ok_bl: Bool[Array, 'b l'], *, num_bins: int, margin: float
  ) -> Float[Array, 'b h {num_bins}']:
    """The mass in each of j equal bins of [0, 1], summed over the real queries; see `masses` below."""


@pytree
class Prepared:
  """What stays constant while one segment is read; n and m are p for a Gibbs density."""

  values_bhnk: Array  # V = B W_V; heads first, so that a read of single tokens copies nothing
  keys_bmhk: Array  # m = 2 K: (Bᵀw_μ) W_K and (Bᵀw_σ) W_K; 3 K in a mixture; without affines n: K = B W_K
  start_b: Array | None = None  # where the document begins in [0, 1] (core/time_axis.py); None: at 0


@pytree
class Answer:
  """The result of a read."""

  context_blhk: Array
  density: Any  # of the spec: located.Located or gibbs.OnNodes


@jax.jit
def prepare(
  b_bnd: Float[Array, 'b n d'],
  w_k_dhk: Float[Array, 'd h k'],
  w_v_dhk: Float[Array, 'd h k'],
  *affines: Float[Array, 'n'],
  start_b: Float[Array, 'b'] | None = None,
) -> Prepared:
  """The part of a read that does not depend on the query.

  Args:
    b_bnd: the spec's `readable` of the signal's coefficients.
    w_k_dhk, w_v_dhk: key and value projections; the values have w_v's dtype.
    affines: w_μ of every component, then w_σ, then in a mixture w_π, shared by the heads; as many as
      the spec's `num_affines`.
    start_b: where each document begins in [0, 1]; None: at 0.
  """
  values_bhnk = jnp.einsum('bnd,dhk->bhnk', b_bnd.astype(w_v_dhk.dtype), w_v_dhk)
  return Prepared(values_bhnk=values_bhnk, keys_bmhk=keys(b_bnd, w_k_dhk, *affines), start_b=start_b)


@jax.jit
def keys(
  b_bnd: Float[Array, 'b n d'], w_k_dhk: Float[Array, 'd h k'], *affines: Float[Array, 'n']
) -> Float[Array, 'b m h k']:
  """The keys of `prepare`, in the dtype of the coefficients."""
  pooled_bmd = b_bnd
  if affines:
    w_mn = jnp.stack(affines).astype(b_bnd.dtype)
    w_bmn = jnp.broadcast_to(w_mn, (len(b_bnd), *w_mn.shape))  # Else a CPU transposes B.
    pooled_bmd = jnp.einsum('bmn,bnd->bmd', w_bmn, b_bnd, precision='highest')
  return jnp.einsum('bmd,dhk->bmhk', pooled_bmd, w_k_dhk.astype(b_bnd.dtype), precision='highest')


def scores(keys_bmhk: Float[Array, 'b m h k'], q_blhk: Float[Array, 'b l h k']) -> Float[Array, 'b h l m']:
  """q·key/√k: the scores or, with affines, their affine functions; in the keys' dtype."""
  q_blhk = q_blhk.astype(keys_bmhk.dtype) * q_blhk.shape[-1] ** -0.5
  return jnp.einsum('blhk,bmhk->bhlm', q_blhk, keys_bmhk, precision='highest')


@functools.partial(jax.jit, static_argnames=('spec', 'basis'))
def locate(
  spec: ReadSpec,
  basis: Basis,
  keys_bmhk: Float[Array, 'b m h k'],
  q_blhk: Float[Array, 'b l h k'],
  start_b: Float[Array, 'b'] | None = None,
) -> Any:
  """The densities of some queries, in the keys' dtype.

  Args:
    keys_bmhk: of `keys`, with the affines exactly if the spec has them.
    q_blhk: queries before any position.
    start_b: as of `Prepared`.
  """
  return spec.locate(basis, scores(keys_bmhk, q_blhk), start_b)


@functools.partial(jax.jit, static_argnames=('spec', 'basis'))
def read(spec: ReadSpec, basis: Basis, prepared: Prepared, q_blhk: Float[Array, 'b l h k']) -> Answer:
  """Reads the signal for some queries.

  Args:
    prepared: of `prepare`.
    q_blhk: queries before any position.
  Returns:
    context in q's dtype; the density in the keys'.
  """
  density = locate(spec, basis, prepared.keys_bmhk, q_blhk, prepared.start_b)
  context_blhk = spec.context(basis, density, prepared.values_bhnk)
  return Answer(context_blhk=context_blhk.astype(q_blhk.dtype), density=density)


@functools.partial(jax.jit, static_argnames=('spec', 'basis', 'num_bins', 'margin'))
def masses(
  spec: ReadSpec,
  basis: Basis,
  density: Any,
  ok_bl: Bool[Array, 'b l'],
  *,
  num_bins: int,
  margin: float = 0.0,
) -> Float[Array, 'b h {num_bins}']:
  """The mass that each head gives to j equal bins of [0, 1], summed over the real queries; no gradient.

  Args:
    density: of an answer.
    ok_bl: the real queries.
    margin: by which the outer edges lie outside [0, 1]; a Gibbs density has no mass there.
  """
  density = jax.lax.stop_gradient(density)
  return spec.masses(basis, density, ok_bl, num_bins=num_bins, margin=margin)
