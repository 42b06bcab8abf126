"""The model as a plain loop over one document: what the library must equal.

Float64 NumPy, one query at a time: every attended token is listed with its distance, keys and scores of the
long memory are formed, expectations are quadratures, each write is a least-squares problem. Nothing is
shared with the library but the names of parameters and settings. No dropout and no draws.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass
class Result:
  """Of one document of t tokens."""

  hidden_td: np.ndarray
  logits_tv: np.ndarray
  kl: np.ndarray  # (sum, count) of the KL regularizer over layers, heads and tokens that read a signal


def run(config, params, tokens_t):
  """A document of any length from empty memories, segment by segment through all layers.

  Args:
    config: ModelConfig.
    params: the model's parameters, a pure dict.
    tokens_t: the inputs of the document.
  """
  params = _float64(params)
  table_vd = params['embedding']['embedding']
  blocks = [Block(config, i, params) for i in range(config.num_layers)]
  hidden = []
  for start in range(0, len(tokens_t), config.segment_length):
    tokens_l = np.asarray(tokens_t[start : start + config.segment_length])
    x_ld = table_vd[tokens_l] * (math.sqrt(config.d_model) if config.scale_embeddings else 1)
    if config.positions == 'learned':
      x_ld = x_ld + params['position_embedding']['embedding'][: len(tokens_l)]
    for block in blocks:
      x_ld = block(x_ld)
    hidden.append(_norm(config, params['final_norm'], x_ld) if config.final_norm else x_ld)
  hidden_td = np.concatenate(hidden)
  out_vd = table_vd if config.tie_embeddings else params['unembedding']['embedding']
  logits_tv = hidden_td @ out_vd.T + (params['output_bias_v'] if config.output_bias else 0)
  return Result(hidden_td, logits_tv, sum(block.kl for block in blocks))


class Block:
  """One layer with all that it has seen of the document."""

  def __init__(self, config, index, params):
    self.config, self.params = config, params['blocks'][index]
    self.biases = (params['u_hk'], params['v_hk']) if config.positions == 'xl' else None
    self.seen = []  # the attention's inputs, one [l, d] per segment
    memory = config.memory
    here = memory.layers is None or index in memory.layers
    self.lag = config.short_term_length // config.segment_length + 1 if memory.source == 'evicted' else 1
    self.memories = _memories(memory, self.params.get('memory', {}), config) if here else []

  @property
  def kl(self):
    return sum((memory.kl for memory in self.memories), np.zeros(2))

  def __call__(self, x_ld):
    config, params = self.config, self.params
    h_ld = _norm(config, params['attention_norm'], x_ld) if config.norm_position == 'pre' else x_ld
    if len(self.seen) >= self.lag:
      for memory in self.memories:
        memory.write(self.seen[-self.lag])
    before = sum(map(len, self.seen))
    self.seen.append(h_ld)
    all_td = np.concatenate(self.seen)
    q_lhk = self._heads(h_ld @ params['attention']['w_q']['kernel'])

    attended_ld = np.zeros_like(x_ld)
    for i, q_hk in enumerate(q_lhk):
      tokens = list(range(max(0, before - config.short_term_length), before + i + 1))
      for memory in self.memories:
        tokens += memory.slots
      attended_ld[i] = self._local(q_hk, all_td[tokens], before + i - np.array(tokens))
      attended_ld[i] += sum(memory.read(q_hk) for memory in self.memories)

    x_ld = x_ld + attended_ld
    if config.norm_position == 'pre':
      return x_ld + self._feed_forward(_norm(config, params['feed_forward_norm'], x_ld))
    x_ld = _norm(config, params['attention_norm'], x_ld)
    return _norm(config, params['feed_forward_norm'], x_ld + self._feed_forward(x_ld))

  def _local(self, q_hk, h_md, distance_m):
    """One query's attention to tokens at the given distances."""
    params, size = self.params['attention'], q_hk.shape[1]
    k_mhk, v_mhk = (self._heads(h_md @ params[name]['kernel']) for name in ('w_k', 'w_v'))
    if self.config.positions == 'xl':
      u_hk, v_hk = self.biases
      d_model = self.config.d_model
      angle = distance_m[:, None] / 10000 ** (np.arange(0, d_model, 2) / d_model)
      r_mhk = self._heads(np.concatenate([np.sin(angle), np.cos(angle)], axis=1) @ params['w_r']['kernel'])
      scores_mh = ((q_hk + u_hk) * k_mhk).sum(-1) + ((q_hk + v_hk) * r_mhk).sum(-1)
    elif (
      self.config.positions == 'rotary'
    ):  # Pairs of the two halves are complex numbers, rotated by the distance.
      q, k = (a[..., : size // 2] + 1j * a[..., size // 2 :] for a in (q_hk, k_mhk))
      turn_m1k = np.exp(1j * distance_m[:, None, None] / 10000 ** (np.arange(0, size, 2) / size))
      scores_mh = (q * np.conj(k) * turn_m1k).real.sum(-1)
    else:
      scores_mh = (q_hk * k_mhk).sum(-1)
    weights_mh = _softmax(scores_mh / math.sqrt(size), axis=0)
    return np.einsum('mh,mhk->hk', weights_mh, v_mhk).reshape(-1) @ params['w_o']['kernel']

  def _feed_forward(self, x_ld):
    params, kind = self.params['feed_forward'], self.config.feed_forward
    if kind == 'swiglu':
      gate = x_ld @ params['w_gate']['kernel']
      return (x_ld @ params['w_in']['kernel'] * gate * _sigmoid(gate)) @ params['w_out']['kernel']
    x = x_ld @ params['w_in']['kernel'] + params['w_in']['bias']
    gelu = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return (np.maximum(x, 0) if kind == 'relu' else gelu) @ params['w_out']['kernel'] + params['w_out'][
      'bias'
    ]

  def _heads(self, x_td):
    return x_td.reshape(len(x_td), self.config.num_heads, -1)


def _memories(memory, params, model):
  """A stack is its parts, side by side."""
  if memory.kind == 'stacked':
    parts = (memory.first, params.get('first', {})), (memory.second, params.get('second', {}))
    return [part for config, params in parts for part in _memories(config, params, model)]
  kinds = {'none': Memory, 'recent': Recent, 'continuous': Continuous}
  return [kinds[memory.kind](memory, params, model)]


class Memory:
  """Receives whole segments of the document in order; brings slots (token indices) and a context."""

  def __init__(self, config, params, model):
    self.config, self.params, self.model = config, params, model
    self.slots = []
    self.kl = np.zeros(2)

  def write(self, x_ld):
    pass

  def read(self, q_hk):
    return 0.0


class Recent(Memory):
  """The last `length` tokens that it was given."""

  def write(self, x_ld):
    newest = self.slots[-1] + 1 if self.slots else 0
    self.slots = [*self.slots, *range(newest, newest + len(x_ld))][-self.config.length :]


class Continuous(Memory):
  """The ∞-former's: B by least squares, densities by quadrature."""

  def __init__(self, config, params, model):
    super().__init__(config, params, model)
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
      x_ld = x_ld * _sigmoid(
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
        self.kl += [_kl(config, mu, variance), 1]
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
      mu = _sigmoid(scale * params['w_mu_n'] @ scores_n)
      offset = 0 if config.initial_sigma is None else math.log(math.exp(config.initial_sigma**2) - 1)
      variance = math.log1p(math.exp(scale * params['w_sigma_n'] @ scores_n + offset))
    else:
      weights_n = _softmax(scores_n, axis=0)
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


def _norm(config, params, x_ld):
  if config.norm == 'layernorm':
    x_ld = x_ld - x_ld.mean(-1, keepdims=True)
  x_ld = x_ld / np.sqrt((x_ld**2).mean(-1, keepdims=True) + 1e-5)
  return x_ld * params['scale'] + params.get('bias', 0)


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _softmax(x, axis):
  weights = np.exp(x - x.max(axis=axis, keepdims=True))
  return weights / weights.sum(axis=axis, keepdims=True)


def _float64(tree):
  if isinstance(tree, dict):
    return {name: _float64(branch) for name, branch in tree.items()}
  return np.asarray(tree, np.float64)
