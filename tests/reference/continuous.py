"""The memory of the ∞-former, one query at a time: B by least squares, expectations by quadrature."""

import itertools
import math

import numpy as np

from tests.reference.basis import Basis
from tests.reference.functions import sigmoid, softmax
from tests.reference.memories import Memory


class Continuous(Memory):
  """A signal; every write solves a least-squares problem."""

  def __init__(self, config, params, model, project):
    super().__init__(config, params, model, project)
    self.basis = Basis(config)
    self.samples = config.num_samples or max(config.num_basis, 512)
    self.length = model.segment_length
    self.scale = config.scale or config.num_basis / 4
    self.writes = 0
    self.b_nd = None
    self.histogram_j = np.zeros(config.histogram_bins)

  def write(self, x_ld):
    l, p, tau = len(x_ld), self.samples, self.config.contraction
    if tau == 'equal':
      tau = self.writes / (self.writes + 1)
    if self.config.gate:
      kernel, padded = self.params['gate']['kernel'], np.pad(x_ld, ((1, 1), (0, 0)))
      x_ld = x_ld * sigmoid(
        sum(padded[i : i + l] @ kernel[i] for i in range(3)) + self.params['gate']['bias']
      )
    even_p = np.arange(1, p + 1) / p
    if tau == 'log':
      old_pd = np.zeros((p, x_ld.shape[1])) if self.b_nd is None else self._old(even_p)
      times = np.array(
        [self._time(self._age(u) + l) for u in even_p] + [self._time(l - 1 - i) for i in range(l)]
      )
      values, outside = np.concatenate([old_pd, x_ld])[times > 0], []
      times = times[times > 0]
    elif self.b_nd is None:
      times, values, outside = np.arange(1, l + 1) / l, x_ld, []
      if self.config.signal_positions == 'padded':
        cells = (np.arange(-(l // 2), l + l // 2) + 0.5) / l
        times, outside = cells[l // 2 : l // 2 + l], cells[(cells < 0) | (cells > 1)]
    else:
      times = np.concatenate([tau * even_p, tau + (1 - tau) * np.arange(1, l + 1) / l])
      values = np.concatenate([self._old(even_p), x_ld])
      shift = 1 / (2 * l + p)
      cells = np.linspace(-0.5 + shift, 1.5 - shift, 2 * (l + p))
      outside = cells[(cells < 0) | (cells > 1)] if self.config.signal_positions == 'padded' else []
    times = np.concatenate([times, outside])
    values = np.concatenate([values, np.zeros((len(outside), x_ld.shape[1]))])
    # min |Psi B - X|² + lambda |B|²
    ridge_nn = math.sqrt(self.config.ridge) * np.eye(self.config.num_basis)
    matrix = np.concatenate([self.basis.psi(times), ridge_nn])
    values = np.concatenate([values, np.zeros((len(ridge_nn), x_ld.shape[1]))])
    self.b_nd = np.linalg.lstsq(matrix, values, rcond=None)[0]
    self.histogram_j[:] = 0
    self.writes += 1

  def read(self, q_hk):
    if self.b_nd is None:
      return 0.0
    config, params = self.config, self.params
    context_hk = np.zeros_like(q_hk)
    for h, q_k in enumerate(q_hk):
      w_k_dk, w_v_dk = params['w_k_dhk'][:, h], params['w_v_dhk'][:, h]
      values_nk = self.b_nd @ w_v_dk
      scores_n = self.b_nd @ w_k_dk @ q_k / math.sqrt(len(q_k))
      if config.density == 'gibbs':
        r_n, mass_j = self._gibbs(scores_n)
      else:
        r_n, mass_j, kl = 0, 0, 0
        for weight, mu, variance in self._components(scores_n, (h + 0.5) / len(q_hk)):
          part_n, part_j = self._located(mu, variance)
          r_n, mass_j = r_n + weight * part_n, mass_j + weight * part_j
          kl += weight * _kl(config, (mu - self.begin) / (1 - self.begin), variance / (1 - self.begin) ** 2)
        if config.kl_weight:
          self.aux += [kl, 1]
      context_hk[h] = r_n @ values_nk
      self.histogram_j += mass_j
    return np.einsum('hk,hkd->d', context_hk, params['w_o_hkd'])

  def _gibbs(self, scores_n):
    """Expectations and bin masses of exp(score), constant on cells or linear between grid points."""
    edges = np.linspace(0, 1, self.config.histogram_bins + 1)
    size = self.config.gibbs_grid or 4 * len(scores_n) + 1
    if self.config.basis == 'rectangular':  # Half cells, so that both ends have equal values.
      t_p = np.repeat(np.arange(1, len(scores_n)) / len(scores_n), 2)
      inside = np.tile([-1e-7, 1e-7], len(scores_n) - 1)
      t_p, looked_p = np.concatenate([[0], t_p, [1]]), np.concatenate([[0], t_p + inside, [1]])
    else:
      t_p = looked_p = np.linspace(0, 1, size)
    score_p = self.basis.psi(looked_p) @ scores_n
    p_p = np.exp(score_p - score_p.max()) * (t_p >= self.start)
    p_p /= np.trapezoid(p_p, t_p)
    r_n = np.trapezoid(p_p[:, None] * self.basis.psi(looked_p), t_p, axis=0)
    # The cumulative integral of the polygon at the edges of the bins.
    mass_j = []
    for low, high in itertools.pairwise(edges):
      mass = 0.0
      for a, b, p_a, p_b in zip(t_p[:-1], t_p[1:], p_p[:-1], p_p[1:], strict=True):
        start, end = max(a, low), min(b, high)
        if start < end:
          middle = ((start + end) / 2 - a) / (b - a)
          mass += (end - start) * (p_a + (p_b - p_a) * middle)
      mass_j.append(mass)
    return r_n, np.array(mass_j)

  def _components(self, scores_n, place):
    """Weight, mu and sigma² of each component; `place` in [0, 1] is the relative index of the head."""
    config, params = self.config, self.params
    n = len(scores_n)
    if config.affine:
      offset = 0 if config.initial_sigma is None else math.log(math.exp(config.initial_sigma**2) - 1)
      if config.mixture == 1:
        rows = params['w_mu_n'][None], params['w_sigma_n'][None], np.zeros((1, n))
      else:
        rows = params['w_mu_cn'], params['w_sigma_cn'], params['w_pi_cn']
      mu_c, sigma_c, weight_c = (row @ scores_n for row in rows)
      if config.initial_mu == 'spread':
        times_c = (np.arange(config.mixture) + place) / config.mixture
        mu_c = mu_c + np.log(times_c / (1 - times_c))
      mu_c, variance_c, weight_c = (
        sigmoid(mu_c),
        np.log1p(np.exp(sigma_c + offset)),
        softmax(weight_c, axis=0),
      )
    else:
      weights_n, (mean_n, square_n) = softmax(scores_n, axis=0), self.basis.moments()
      mu_c, weight_c = [weights_n @ mean_n], [1.0]
      variance_c = [weights_n @ square_n - mu_c[0] ** 2]
    spacing = 1 / (n // len(config.widths) - 1) if config.basis == 'gaussian' else 1 / n
    floor = spacing / 2 if config.sigma_floor is None else config.sigma_floor
    mu_c = [self.begin + (1 - self.begin) * mu for mu in mu_c]
    variance_c = [max((1 - self.begin) ** 2 * v, floor**2) for v in variance_c]
    return list(zip(weight_c, mu_c, variance_c, strict=True))

  def _located(self, mu, variance):
    """Expectations and bin masses of one density."""
    config = self.config
    t_p, mass_p = self._quadrature(mu, variance)
    mass = mass_p.sum() if config.renormalize else 1
    edges = np.linspace(0, 1, config.histogram_bins + 1)
    if config.renormalize:
      edges = np.maximum(edges, self.begin)
    if config.sampling == 'edges':
      edges[0], edges[-1] = -1e-6, 1 + 1e-6  # As published.
    return mass_p @ self.basis.psi(t_p) / mass, self._mass(mu, variance, edges[:-1], edges[1:]) / mass

  def _quadrature(self, mu, variance):
    """Nodes and weights of ∫ · p(t) dt over the span if renormalized, else where the basis has values."""
    margin = self.basis.margin
    low, high = (self.begin, 1) if self.config.renormalize else (-margin, 1 + margin)
    reach = 9 * math.sqrt(variance) if self.config.density == 'gaussian' else math.cbrt(1.5 * variance)
    edges = np.linspace(max(low, mu - reach), min(high, mu + reach), self.basis.panels + 1)
    jumps = self.basis.jumps
    edges = np.unique(np.concatenate([edges, jumps[(jumps > edges[0]) & (jumps < edges[-1])]]))
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half, middle = np.diff(edges)[:, None] / 2, (edges[:-1] + edges[1:])[:, None] / 2
    t_p = (middle + half * nodes).ravel()
    return t_p, (half * weights).ravel() * self._pdf(mu, variance, t_p)

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

  def _time(self, age):
    """The place of a token on the logarithmic axis, whose horizon is at 0."""
    return 1 - math.log(1 + age / self.scale) / math.log(1 + self.config.horizon / self.scale)

  def _age(self, time):
    return self.scale * ((1 + self.config.horizon / self.scale) ** (1 - time) - 1)

  @property
  def start(self):
    """Where the document begins; what is before is empty."""
    return max(0, self._time(self.writes * self.length)) if self.config.contraction == 'log' else 0

  @property
  def begin(self):
    """Where the span of the densities begins."""
    return self.start if self.config.span == 'document' else 0

  def _old(self, even_p):
    return self.basis.psi(self._points(even_p)) @ self.b_nd

  def _points(self, even_p):
    """The times at which the old signal is sampled."""
    total, bins = self.histogram_j.sum(), len(self.histogram_j)
    if self.config.sampling == 'edges':  # Without a key: the bins that contain the midpoints of equal shares.
      shares_p = (even_p - even_p[0] / 2) * (total or bins)
      cumulative_j = np.cumsum(self.histogram_j if total else np.ones(bins))
      return (cumulative_j[None] < shares_p[:, None]).sum(1) / bins
    if self.config.sampling == 'even' or total == 0:
      return even_p
    probability_j = 0.99 * self.histogram_j / total + 0.01 / bins
    edges, cumulative_j = np.linspace(0, 1, bins + 1), np.append(0, np.cumsum(probability_j))
    # Before the start as they are; the others are quantiles of the density that is left of the start on.
    before = np.interp(self.start, edges, cumulative_j)
    shares_p = before + (1 - before) * (even_p - self.start) / (1 - self.start)
    points_p = np.where(even_p < self.start, even_p, np.interp(shares_p, cumulative_j, edges))
    if self.config.contraction != 'log':
      return points_p
    # Content ages by half a step at least, and by one and a half at most.
    steps = [(self._time(self._age(u) + self.length) - u) / 2 for u in even_p]
    allowed = [(max(0, u + step), min(1, u - step)) for u, step in zip(even_p, steps, strict=True)]
    return np.array([min(max(p, low), high) for p, (low, high) in zip(points_p, allowed, strict=True)])


def _kl(config, mu, variance):
  ratio = variance / config.kl_sigma**2
  mean = 0 if config.kl_mu is None else (mu - config.kl_mu) ** 2 / config.kl_sigma**2
  return 0.5 * (ratio - math.log(ratio) - 1 + mean)
