"""Basis functions of the reference implementation."""

import math

import numpy as np


class Basis:
  """The basis functions, and the breakpoints and support that the quadrature needs."""

  def __init__(self, config):
    n, groups = config.num_basis, len(config.widths)
    self.kind, self.size, self.panels = config.basis, n, 40
    self.jumps, self.margin = np.zeros(0), 0.0
    if self.kind == 'gaussian':
      self.centres_n = np.repeat(np.linspace(0, 1, n // groups), groups)
      self.widths_n = np.tile(config.widths, n // groups) / (n if config.width_unit == 'spacing' else 1)
      self.margin = 9 * self.widths_n.max()
    elif self.kind == 'rectangular':
      self.jumps = np.arange(n + 1) / n
    else:
      self.margin, self.panels = math.inf, 400

  def psi(self, t_p):
    t_p1, n = np.asarray(t_p)[:, None], self.size
    if self.kind == 'gaussian':
      z_pn = (t_p1 - self.centres_n) / self.widths_n
      return np.exp(-(z_pn**2) / 2) / (math.sqrt(2 * math.pi) * self.widths_n)
    if self.kind == 'rectangular':  # An edge belongs to the cell that ends there.
      left_n = np.arange(n) / n + 1e-12
      left_n[0] = 0
      return n * ((t_p1 >= left_n) & (t_p1 <= np.arange(1, n + 1) / n + 1e-12)).astype(float)
    columns = [np.ones_like(t_p1)]
    for j in range(1, n // 2 + 1):
      columns += [math.sqrt(2) * f(2 * math.pi * j * t_p1) for f in (np.cos, np.sin)]
    return math.sqrt(n) * np.concatenate(columns[:n], axis=1)

  def moments(self):
    """∫ t ψ_n dt and ∫ t² ψ_n dt."""
    if self.kind == 'rectangular':
      low_n, high_n = np.arange(self.size) / self.size, np.arange(1, self.size + 1) / self.size
      return (low_n + high_n) / 2, (low_n**2 + low_n * high_n + high_n**2) / 3
    return self.centres_n, self.centres_n**2 + self.widths_n**2
