"""The ∞-former's memory: B by least squares, densities by quadrature."""

import math

import numpy as np

from tests.reference.functions import sigmoid, softmax
from tests.reference.memories import Memory


class Continuous(Memory):
  """The ∞-former's: B by least squares, densities by quadrature."""

  def __init__(self, config, params, model, project):
    super().__init__(config, params, model, project)
    n, groups = config.num_basis, len(config.widths)
    self.centres_n = np.repeat(np.linspace(0, 1, n // groups), groups)
    unit = n if config.width_unit == 'spacing' else 1
    self.widths_n = np.tile(config.widths, n // groups) / unit
    self.samples = config.num_samples or max(n, 512)
    self.b_nd = None
    self.histogram_j = np.zeros(config.histogram_bins)

  def write(self, x_ld):
    l, p, tau = len(x_ld), self.samples, self.config.contraction
    if self.config.gate:
      kernel, padded = self.params['gate']['kernel'], np.pad(x_ld, ((1, 1), (0, 0)))
      x_ld = x_ld * sigmoid(
        sum(padded[i : i + l] @ kernel[i] for i in range(3)) + self.params['gate']['bias']
      )
    even_p = np.arange(1, p + 1) / p
    if self.b_nd is None:
      times, values, outside = np.arange(1, l + 1) / l, x_ld, []
      if self.config.signal_positions == 'padded':
        cells = (np.arange(-(l // 2), l + l // 2) + 0.5) / l
        times, outside = cells[l // 2 : l // 2 + l], cells[(cells < 0) | (cells > 1)]
    else:
      times = np.concatenate([tau * even_p, tau + (1 - tau) * np.arange(1, l + 1) / l])
      values = np.concatenate([self._psi(self._points(even_p)) @ self.b_nd, x_ld])
      shift = 1 / (2 * l + p)
      cells = np.linspace(-0.5 + shift, 1.5 - shift, 2 * (l + p))
      outside = cells[(cells < 0) | (cells > 1)] if self.config.signal_positions == 'padded' else []
    times = np.concatenate([times, outside])
    values = np.concatenate([values, np.zeros((len(outside), x_ld.shape[1]))])
    # min |Psi B - X|² + lambda |B|²
    ridge_nn = math.sqrt(self.config.ridge) * np.eye(len(self.centres_n))
    matrix = np.concatenate([self._psi(times), ridge_nn])
    values = np.concatenate([values, np.zeros((len(ridge_nn), x_ld.shape[1]))])
    self.b_nd = np.linalg.lstsq(matrix, values, rcond=None)[0]
    self.histogram_j[:] = 0

  def read(self, q_hk):
    if self.b_nd is None:
      return 0.0
    config, params = self.config, self.params
    k_nhk = np.einsum('nd,dhk->nhk', self.b_nd, params['w_k_dhk'])
    v_nhk = np.einsum('nd,dhk->nhk', self.b_nd, params['w_v_dhk'])
    scores_nh = (q_hk * k_nhk).sum(-1) / math.sqrt(q_hk.shape[1])
    context_hk = np.zeros_like(q_hk)
    for h, scores_n in enumerate(scores_nh.T):
      mu, variance = self._density(scores_n)
      if config.kl_weight:
        self.aux += [_kl(config, mu, variance), 1]
      t_p, mass_p = self._quadrature(mu, variance)
      mass = mass_p.sum() if config.renormalize else 1
      context_hk[h] = mass_p @ self._psi(t_p) / mass @ v_nhk[:, h]
      edges = np.linspace(0, 1, config.histogram_bins + 1)
      if config.sampling == 'edges':
        edges[0], edges[-1] = -1e-6, 1 + 1e-6  # As published.
      self.histogram_j += self._mass(mu, variance, edges[:-1], edges[1:]) / mass
    return np.einsum('hk,hkd->d', context_hk, params['w_o_hkd'])

  def _density(self, scores_n):
    """mu and sigma²."""
    config, params = self.config, self.params
    n = len(scores_n)
    if config.affine:
      scale = n if config.affine_scale is None else config.affine_scale
      mu = sigmoid(scale * params['w_mu_n'] @ scores_n)
      offset = 0 if config.initial_sigma is None else math.log(math.exp(config.initial_sigma**2) - 1)
      variance = math.log1p(math.exp(scale * params['w_sigma_n'] @ scores_n + offset))
    else:
      weights_n = softmax(scores_n, axis=0)
      mu = weights_n @ self.centres_n
      variance = weights_n @ ((self.centres_n - mu) ** 2 + self.widths_n**2)
    spacing = 1 / (n // len(config.widths) - 1)
    floor = spacing / 2 if config.sigma_floor is None else config.sigma_floor
    return mu, max(variance, floor**2)

  def _quadrature(self, mu, variance):
    """Nodes and weights of ∫ · p(t) dt over [0, 1] if renormalized, else over all that the basis reaches."""
    margin = 0 if self.config.renormalize else 9 * self.widths_n.max()
    reach = 9 * math.sqrt(variance) if self.config.density == 'gaussian' else math.cbrt(1.5 * variance)
    edges = np.linspace(max(-margin, mu - reach), min(1 + margin, mu + reach), 41)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = (edges[1] - edges[0]) / 2
    t_p = ((edges[:-1] + half)[:, None] + half * nodes).ravel()
    return t_p, np.tile(half * weights, 40) * self._pdf(mu, variance, t_p)

  def _pdf(self, mu, variance, t_p):
    if self.config.density == 'gaussian':
      return np.exp(-((t_p - mu) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    return np.maximum(0, math.cbrt(1.5 * variance) ** 2 - (t_p - mu) ** 2) / (2 * variance)

  def _mass(self, mu, variance, low_j, high_j):
    """∫ p(t) dt of every bin."""
    if self.config.density == 'gaussian':
      erf = np.vectorize(math.erf)
      return np.diff(0.5 * erf((np.append(low_j, high_j[-1]) - mu) / math.sqrt(2 * variance)))
    reach = math.cbrt(1.5 * variance)
    low_j, high_j = np.clip(low_j, mu - reach, mu + reach), np.clip(high_j, mu - reach, mu + reach)
    middle_j = (low_j + high_j) / 2  # Simpson's rule is exact for a parabola.
    sides = self._pdf(mu, variance, low_j) + self._pdf(mu, variance, high_j)
    return (high_j - low_j) / 6 * (sides + 4 * self._pdf(mu, variance, middle_j))

  def _points(self, even_p):
    """Where the old signal is sampled."""
    total, bins = self.histogram_j.sum(), len(self.histogram_j)
    if (
      self.config.sampling == 'edges'
    ):  # The bins that hold the middles of equal shares, drawn without a key.
      shares_p = (even_p - even_p[0] / 2) * (total or bins)
      cumulative_j = np.cumsum(self.histogram_j if total else np.ones(bins))
      return (cumulative_j[None] < shares_p[:, None]).sum(1) / bins
    if self.config.sampling == 'even' or total == 0:
      return even_p
    probability_j = 0.99 * self.histogram_j / total + 0.01 / bins
    return np.interp(even_p, np.append(0, np.cumsum(probability_j)), np.linspace(0, 1, bins + 1))

  def _psi(self, t_p):
    z_pn = (np.asarray(t_p)[:, None] - self.centres_n) / self.widths_n
    return np.exp(-(z_pn**2) / 2) / (math.sqrt(2 * math.pi) * self.widths_n)


def _kl(config, mu, variance):
  ratio = variance / config.kl_sigma**2
  mean = 0 if config.kl_mu is None else (mu - config.kl_mu) ** 2 / config.kl_sigma**2
  return 0.5 * (ratio - math.log(ratio) - 1 + mean)
