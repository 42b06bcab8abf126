"""Quadratures of [0, 1]: nodes and weights, and how the mass of a node spreads over time.

    Cells        equal cells, exact for functions that are constant on each
    Trapezoid    equally spaced points from 0 to 1, for functions that are linear between them

The integrals of a Gibbs density (core/gibbs.py) use them.
"""

import abc
import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Quadrature(abc.ABC):
  """E[f] is the sum of f(times_p)·weights_p; all arrays are float64."""

  count: int  # p

  @property
  @abc.abstractmethod
  def times_p(self) -> Float[np.ndarray, 'p']:
    """The nodes, in increasing order."""

  @property
  @abc.abstractmethod
  def weights_p(self) -> Float[np.ndarray, 'p']:
    """Their weights, summing to 1."""

  @abc.abstractmethod
  def cumulative(self, times_j: Float[np.ndarray, 'j']) -> Float[np.ndarray, 'p j']:
    """The share of a node's mass before each time."""


class Cells(Quadrature):
  """The midpoints of equal cells; the mass of a node is constant over its cell."""

  @property
  def times_p(self) -> Float[np.ndarray, 'p']:
    return (np.arange(self.count) + 0.5) / self.count

  @property
  def weights_p(self) -> Float[np.ndarray, 'p']:
    return np.full(self.count, 1 / self.count)

  def cumulative(self, times_j: Float[np.ndarray, 'j']) -> Float[np.ndarray, 'p j']:
    return np.clip((times_j - self.times_p[:, None]) * self.count + 0.5, 0, 1)


class Trapezoid(Quadrature):
  """The trapezoidal rule, with at least 2 points; the mass of a node falls linearly to its neighbours."""

  @property
  def times_p(self) -> Float[np.ndarray, 'p']:
    return np.linspace(0, 1, self.count)

  @property
  def weights_p(self) -> Float[np.ndarray, 'p']:
    weights_p = np.full(self.count, 1 / (self.count - 1))
    weights_p[[0, -1]] /= 2
    return weights_p

  def cumulative(self, times_j: Float[np.ndarray, 'j']) -> Float[np.ndarray, 'p j']:
    step = self.times_p[1]
    u = np.clip((times_j - self.times_p[:, None]) / step, -1, 1)
    return step / self.weights_p[:, None] * (0.5 + u - 0.5 * u * np.abs(u))
