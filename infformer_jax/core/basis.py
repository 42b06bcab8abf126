"""Basis functions on [0, 1] that span the signal: the interface of every family (core/basis_families.py).

In all families the integral of a squared function over [0, 1] is about N, so that a ridge λ and the scale of
coefficients have the same meaning.
"""

import abc
import dataclasses
import functools
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from infformer_jax.core.arrays import ArrayT, on_last_axis
from infformer_jax.core.density import Density
from infformer_jax.core.quadrature import Quadrature, Trapezoid
from infformer_jax.errors import check_range

MOST_FUNCTIONS = 2**16
"""n, and P samples, at most: the host solves for an n x P matrix in float64."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Basis(abc.ABC):
  """Which functions span the signal: a hashable value, for static arguments.

  Raises:
    ConfigError: a setting outside its range.
  """

  num_basis: int

  def __post_init__(self) -> None:
    check_range('num_basis', self.num_basis, 1, MOST_FUNCTIONS)

  @property
  def finest(self) -> float:
    """The scale of the finest detail, in units of the whole signal."""
    return 1 / self.num_basis

  @property
  def spacing(self) -> float:
    """The distance of two neighbouring centres, in units of the whole signal."""
    return 1 / self.num_basis

  @property
  @abc.abstractmethod
  def localized(self) -> bool:
    """Whether every function is a density around a centre; False: it extends over all of [0, 1]."""

  @property
  @abc.abstractmethod
  def centres_n(self) -> Float[np.ndarray, 'n']:
    """Means of functions that are densities: float64, in [0, 1]."""

  @property
  @abc.abstractmethod
  def sigmas_n(self) -> Float[np.ndarray, 'n']:
    """Their standard deviations, float64, in units of the whole signal."""

  @abc.abstractmethod
  def functions(self, t: Float[ArrayT, '*b'], xp: ModuleType) -> Float[ArrayT, '*b n']:
    """ψ_n(t) in t's dtype, by the functions of `xp`: numpy or jax.numpy; `evaluate` calls it."""

  @abc.abstractmethod
  def expected(
    self,
    density: Density,
    mu: Float[Array, '*b'],
    sigma_sq: Float[Array, '*b'],
    *,
    renormalize: bool,
    start: Float[Array, '*#b'] | float = 0.0,
  ) -> Float[Array, '*b n']:
    """E[ψ_n(t)] in closed form; `expectation` calls it."""

  def quadrature(self, gibbs_grid: int | None = None) -> Quadrature:
    """How functions of the signal are integrated over [0, 1].

    Args:
      gibbs_grid: points of the trapezoidal rule, at least 2; None: 4 n + 1.
    Raises:
      ConfigError: gibbs_grid is outside its range, or is given to a rectangular basis, which needs none.
    """
    check_range('gibbs_grid', gibbs_grid, 2, 16 * MOST_FUNCTIONS)
    return Trapezoid(4 * self.num_basis + 1 if gibbs_grid is None else gibbs_grid)


def constant(array: np.ndarray) -> np.ndarray:
  """A read-only float64 copy, for the results of cached functions."""
  array = np.array(array, np.float64)
  array.flags.writeable = False
  return array


@functools.partial(jax.jit, static_argnames='basis')
def evaluate(basis: Basis, t_p: Float[Array, '*b p']) -> Float[Array, '*b p n']:
  """ψ_n at the times t [..., p] -> [..., p, n], in t's dtype."""
  return basis.functions(t_p, jnp)


def evaluate_on_host(basis: Basis, t_p: Float[np.ndarray, 'p']) -> Float[np.ndarray, 'p n']:
  """The same in NumPy and float64, for the constants of a write."""
  return basis.functions(t_p, np)


@functools.partial(jax.jit, static_argnames=('basis', 'density', 'renormalize'))
def expectation(
  basis: Basis,
  density: Density,
  mu: Float[Array, '*b'],
  sigma_sq: Float[Array, '*b'],
  *,
  renormalize: bool = False,
  start: Float[Array, '*#b'] | float = 0.0,
) -> Float[Array, '*b n']:
  """r_n = E[ψ_n(t)] under the density, in closed form for every family of basis.

  Outside [0, 1] a rectangular basis is zero and a Fourier series periodic.

  Args:
    mu: in [0, 1].
    sigma_sq: positive, in units of the whole signal squared.
    renormalize: condition the density on t in [start, 1]; the published code integrates over all reals.
    start: in [0, 1), and at most μ.
  Raises:
    ConfigError: renormalize with a Fourier series, for which there is no closed form.
  """
  return basis.expected(density, mu, sigma_sq, renormalize=renormalize, start=start)


@functools.partial(jax.jit, static_argnames='basis')
def moment_match(
  basis: Basis, weights_n: Float[Array, '*b n']
) -> tuple[Float[Array, '*b'], Float[Array, '*b']]:
  """Mean and variance of the mixture Σ_n weight_n ψ_n: the published variant without affines.

  Args:
    weights_n: summing to one: the softmax of the scores.
  Returns:
    μ and σ²; the variance includes each function's own w_n².
  Raises:
    ConfigError: the functions are not densities.
  """
  centres_n, sigmas_n = (
    on_last_axis(jnp.asarray(a, weights_n.dtype), weights_n.ndim) for a in (basis.centres_n, basis.sigmas_n)
  )
  mu = (weights_n * centres_n).sum(-1)
  return mu, (weights_n * ((centres_n - mu[..., None]) ** 2 + sigmas_n**2)).sum(-1)
