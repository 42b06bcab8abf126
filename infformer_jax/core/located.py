"""Reads by densities that a few affine functions of the scores locate: the ∞-former's.

A mixture has K components with affines of their own and a third one for their weights, softmax(w_π·s):
r = Σ π_c E_c[ψ]. K = 1 is the paper.

Source: ∞-former, section 3.1 and equations 10 to 14; published code: long_term_attention.py (`forward`).
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from infformer_jax.core import gaussian_context
from infformer_jax.core.arrays import on_last_axis
from infformer_jax.core.basis import Basis, expectation, moment_match
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.density import Density, GaussianDensity, bin_masses
from infformer_jax.core.pytree import pytree
from infformer_jax.core.read import ReadSpec
from infformer_jax.errors import ConfigError, check_range


@pytree
class Located:
  """Densities by their parameters, in units of the whole signal (squared); c components."""

  mu_bhlc: Array
  sigma_sq_bhlc: Array
  weight_bhlc: Array  # summing to 1
  start_b111: Array | None = None  # where the span of the densities begins in [0, 1]; None: at 0

  def in_span(self) -> tuple[Array, Array]:
    """μ and σ² in units of the span, as the KL regularizer takes them."""
    if self.start_b111 is None:
      return self.mu_bhlc, self.sigma_sq_bhlc
    width_b111 = 1 - self.start_b111
    return (self.mu_bhlc - self.start_b111) / width_b111, self.sigma_sq_bhlc / width_b111**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocatedRead(ReadSpec):
  """μ = sigmoid(w_μ·s), σ² = softplus(w_σ·s), for each component.

  Raises:
    ConfigError: a value out of its range.
  """

  density: Density = dataclasses.field(default_factory=GaussianDensity)
  # Where the densities move. 'document': in [start, 1], the part of [0, 1] that the document fills, so that μ
  # and σ are relative to it; 'axis': in [0, 1]. They differ where a document begins after 0.
  span: Literal['document', 'axis'] = 'document'
  renormalize: bool = False  # conditioned on the span; the published density is over all reals
  variance_floor: float = 1e-6  # σ² is never smaller, in units of the whole signal squared
  softplus_offset: float = 0.0  # added inside the softplus, so that σ can start small
  # 'spread': offsets inside the sigmoid let heads and components start evenly over [0, 1].
  initial_mu: Literal['spread', 'middle'] = 'middle'
  affine: bool = True  # False: moment matching from softmax scores, which forms the keys
  mixture: int = 1  # K components; 1 is the paper

  def __post_init__(self) -> None:
    if self.variance_floor <= 0:
      raise ConfigError(f'variance_floor = {self.variance_floor} must be positive, such as 1e-6')
    check_range('mixture', self.mixture, 1, 1024)
    if self.mixture > 1 and not self.affine:
      raise ConfigError(f'mixture = {self.mixture} must be 1 with affine = False; or use affine = True')

  @property
  def num_affines(self) -> int:
    if not self.affine:
      return 0
    return 2 if self.mixture == 1 else 3 * self.mixture

  def check(self, basis: Basis) -> None:
    for key, needed in (('renormalize', False), ('affine', True)):
      if not basis.localized and getattr(self, key) != needed:
        raise ConfigError(
          f"{key} = {not needed} must be {needed} with basis = 'fourier'; or use 'gaussian' or 'rectangular'"
        )

  def locate(
    self, basis: Basis, scores_bhlm: Float[Array, 'b h l m'], start_b: Float[Array, 'b'] | None = None
  ) -> Located:
    """The parameters, in the scores' dtype."""
    weight_bhlc = jnp.ones((*scores_bhlm.shape[:-1], 1), scores_bhlm.dtype)
    start_b111 = None
    if start_b is not None and self.span == 'document':
      start_b111 = start_b[:, None, None, None]
    if self.affine:
      mu_bhlc, sigma_bhlc, *weights = jnp.split(scores_bhlm, 2 if self.mixture == 1 else 3, axis=-1)
      if self.initial_mu == 'spread':
        mu_bhlc += jnp.asarray(_offsets(scores_bhlm.shape[1], self.mixture), mu_bhlc.dtype)
      mu_bhlc, sigma_sq_bhlc = jax.nn.sigmoid(mu_bhlc), jax.nn.softplus(sigma_bhlc + self.softplus_offset)
      if weights:
        weight_bhlc = jax.nn.softmax(weights[0])
      if start_b111 is not None:
        mu_bhlc = start_b111 + (1 - start_b111) * mu_bhlc
        sigma_sq_bhlc = (1 - start_b111) ** 2 * sigma_sq_bhlc
    else:
      if start_b111 is not None:
        centres_n = on_last_axis(jnp.asarray(basis.centres_n, scores_bhlm.dtype), scores_bhlm.ndim)
        scores_bhlm = jnp.where(centres_n >= start_b111, scores_bhlm, -jnp.inf)
      moments = moment_match(basis, jax.nn.softmax(scores_bhlm))
      mu_bhlc, sigma_sq_bhlc = (a_bhl[..., None] for a_bhl in moments)
    sigma_sq_bhlc = jnp.maximum(sigma_sq_bhlc, self.variance_floor)
    return Located(
      mu_bhlc=mu_bhlc, sigma_sq_bhlc=sigma_sq_bhlc, weight_bhlc=weight_bhlc, start_b111=start_b111
    )

  def expected(self, basis: Basis, density: Located) -> Float[Array, 'b h l n']:
    """r_n, by the closed forms."""
    r_bhlcn = expectation(
      basis, self.density, density.mu_bhlc, density.sigma_sq_bhlc, **self._condition(density)
    )
    return (density.weight_bhlc[..., None] * r_bhlcn).sum(axis=-2)

  def context(
    self, basis: Basis, density: Located, values_bhnk: Float[Array, 'b h n k']
  ) -> Float[Array, 'b l h k']:
    """r V; where densities and functions are plain Gaussians, without keeping r for the backward pass."""
    plain = isinstance(self.density, GaussianDensity) and self.mixture == 1 and not self.renormalize
    if not (plain and isinstance(basis, GaussianBasis) and len(basis.widths) == 1):
      return super().context(basis, density, values_bhnk)
    mu_bhl, sigma_sq_bhl = density.mu_bhlc[..., 0], density.sigma_sq_bhlc[..., 0]
    return gaussian_context.context(basis, mu_bhl, sigma_sq_bhl, values_bhnk)

  def masses(
    self, basis: Basis, density: Located, ok_bl: Bool[Array, 'b l'], *, num_bins: int, margin: float
  ) -> Float[Array, 'b h {num_bins}']:
    masses_bhlcj = bin_masses(
      self.density,
      density.mu_bhlc,
      density.sigma_sq_bhlc,
      num_bins=num_bins,
      margin=margin,
      **self._condition(density),
    )
    weighted_bhlcj = density.weight_bhlc[..., None] * masses_bhlcj
    return jnp.where(ok_bl[:, None, :, None, None], weighted_bhlcj, 0).sum(axis=(2, 3))

  def _condition(self, density: Located) -> dict[str, Any]:
    start = 0.0 if density.start_b111 is None else density.start_b111
    return {'renormalize': self.renormalize, 'start': start}


def _offsets(num_heads: int, mixture: int) -> Float[np.ndarray, '1 h 1 c']:
  """Logits of evenly spaced times, those of one head as far apart as possible."""
  times_hc = (np.arange(mixture) + (np.arange(num_heads)[:, None] + 0.5) / num_heads) / mixture
  return np.log(times_hc / (1 - times_hc))[None, :, None]
