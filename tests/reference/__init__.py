"""A reference implementation of the model: a plain loop over one document.

It uses NumPy in float64 and processes one query at a time: every attended token is listed with its distance,
keys and scores of the long-term memory are computed, expectations are quadratures, and each write is a
least-squares problem. It shares only the names of parameters and settings with the library. It supports
neither dropout nor random draws.
"""

import dataclasses
import math

import numpy as np

from tests.reference.functions import sigmoid, softmax, unit
from tests.reference.memories import memories


@dataclasses.dataclass
class Result:
  """The result for one document of t tokens."""

  hidden_td: np.ndarray
  logits_tv: np.ndarray
  aux: np.ndarray  # (sum, count) of the auxiliary losses, over layers and queries


def run(config, params, tokens_t):
  """Runs a document of any length, segment by segment, starting from empty memories.

  Args:
    config: ModelConfig.
    params: the model's parameters, a pure dict.
    tokens_t: the inputs of the document.
  """
  params = _float64(params)
  vocabulary = params['vocabulary']
  table_vd = vocabulary['embedding']['embedding']
  blocks = [Block(config, i, params) for i in range(config.num_layers)]
  hidden = []
  for start in range(0, len(tokens_t), config.segment_length):
    tokens_l = np.asarray(tokens_t[start : start + config.segment_length])
    x_ld = table_vd[tokens_l] * (math.sqrt(config.d_model) if config.scale_embeddings else 1)
    if config.positions == 'learned':
      first = min(start, config.short_term_length)
      x_ld = x_ld + params['position_embedding']['embedding'][first : first + len(tokens_l)]
    for block in blocks:
      x_ld = block(x_ld)
    hidden.append(_norm(config, params['final_norm'], x_ld) if config.final_norm else x_ld)
  hidden_td = np.concatenate(hidden)
  out_vd = table_vd if config.tie_embeddings else vocabulary['unembedding']['embedding']
  logits_tv = hidden_td @ out_vd.T + (vocabulary['output_bias_v'] if config.output_bias else 0)
  return Result(hidden_td, logits_tv, sum(block.aux for block in blocks))


class Block:
  """One layer, with the part of the document that it has processed."""

  def __init__(self, config, index, params):
    self.config, self.params = config, params['blocks'][index]
    self.biases = (params['u_hk'], params['v_hk']) if config.positions == 'xl' else None
    if config.positions == 'learned':
      self.positions_td = params['position_embedding']['embedding'] + self.params.get('position_drift_td', 0)
    self.inputs = []  # of the layer, one [l, d] per segment
    self.seen = []  # of the attention, likewise
    self.received_t = np.zeros(0)  # attention weight received by every token
    memory = config.memory
    # None means every layer; for neighbours, the ninth of twelve layers, or at the same relative depth.
    ninth = math.ceil(config.num_layers * 9 / 12) - 1
    everywhere = memory.kind != 'neighbours' or index == ninth
    here = everywhere if memory.layers is None else index in memory.layers
    self.lag = config.short_term_length // config.segment_length + 1 if memory.source == 'evicted' else 1
    self.memories = memories(memory, self.params.get('memory', {}), config, self.project) if here else []

  @property
  def aux(self):
    return sum((memory.aux for memory in self.memories), np.zeros(2))

  def __call__(self, x_ld):
    config, params = self.config, self.params
    h_ld = self._attention_input(x_ld)
    if len(self.seen) >= self.lag:
      end = len(self.received_t) - (self.lag - 1) * config.segment_length
      for memory in self.memories:
        memory.received_l = self.received_t[end - config.segment_length : end]
        residual = getattr(memory.config, 'feed', None) == 'residual'
        memory.write((self.inputs if residual else self.seen)[-self.lag])
    before = sum(map(len, self.seen))
    self.seen.append(h_ld)
    self.inputs.append(x_ld)
    self.received_t = np.concatenate([self.received_t, np.zeros(len(h_ld))])
    all_td = np.concatenate(self.seen)
    q_lhk = self._heads(_dense(params['attention']['w_q'], h_ld))

    attended_ld = np.zeros_like(x_ld)
    for i, q_hk in enumerate(q_lhk):
      window = self._window(before, i)
      slots = [(self._in_window(token, before), token) for token in window]
      for memory in self.memories:
        slots += [(all_td[token], token) for token in memory.slots] + memory.compressed(before)
      context_hk = 0 * q_hk
      if slots:
        keys_md, position_m = map(np.array, zip(*slots, strict=True))
        context_hk, weights_m = self._local(q_hk, keys_md, before + i - position_m)
        self.received_t[window] += weights_m[: len(window)]
      for memory in self.memories:
        context_hk = memory.mix(q_hk, context_hk)
      attended_ld[i] = _dense(params['attention']['w_o'], context_hk.reshape(-1))
      attended_ld[i] += sum(memory.read(q_hk) for memory in self.memories)

    x_ld = x_ld + attended_ld
    if config.norm_position == 'pre':
      return x_ld + self._feed_forward(_norm(config, params['feed_forward_norm'], x_ld))
    x_ld = _norm(config, params['attention_norm'], x_ld)
    return _norm(config, params['feed_forward_norm'], x_ld + self._feed_forward(x_ld))

  def project(self, h_md):
    """Keys and values, repeated for the heads of their group."""
    heads, groups = self.config.num_heads, self.config.num_kv_heads or self.config.num_heads
    for name in ('w_k', 'w_v'):
      of_group = _dense(self.params['attention'][name], h_md).reshape(len(h_md), groups, -1)
      yield of_group[:, [head * groups // heads for head in range(heads)]]

  def _attention_input(self, x_td):
    if self.config.norm_position == 'post':
      return x_td
    return _norm(self.config, self.params['attention_norm'], x_td)

  def _in_window(self, token, before):
    """The attention's input of a token, for the segment that has this many tokens before it."""
    short, length = self.config.short_term_length, self.config.segment_length
    x_d = self.inputs[token // length][token % length]
    if self.config.positions == 'learned':
      # Its row in the table was counted from the first row of its own segment.
      own = token // length * length
      rows = [min(start, short) + token - start for start in (own, before)]
      x_d = x_d + self.positions_td[rows[1]] - self.positions_td[rows[0]]
    return self._attention_input(x_d)

  def _window(self, before, i):
    """The tokens that token i of a segment sees, by their index in the document."""
    here, length = before + i, self.config.short_term_length
    first = {'block': before - length, 'sliding': here - length + 1, 'past': here - length}
    last = here - 1 if self.config.window == 'past' else here
    return list(range(max(0, first[self.config.window]), last + 1))

  def _local(self, q_hk, h_md, distance_m):
    """The attention of one query to tokens at the given distances, and its weights summed over heads."""
    params, size = self.params['attention'], q_hk.shape[1]
    k_mhk, v_mhk = self.project(h_md)
    if self.config.normalize_qk:
      q_hk, k_mhk = unit(q_hk), unit(k_mhk)
    if self.config.positions == 'xl':
      u_hk, v_hk = self.biases
      d_model = self.config.d_model
      if self.config.clamp_length is not None:
        distance_m = np.minimum(distance_m, self.config.clamp_length)
      angle = distance_m[:, None] / 10000 ** (np.arange(0, d_model, 2) / d_model)
      r_mhk = self._heads(np.concatenate([np.sin(angle), np.cos(angle)], axis=1) @ params['w_r']['kernel'])
      scores_mh = ((q_hk + u_hk) * k_mhk).sum(-1) + ((q_hk + v_hk) * r_mhk).sum(-1)
    elif self.config.positions == 'rotary':
      # The two halves form complex numbers, which are rotated by the distance.
      q, k = (a[..., : size // 2] + 1j * a[..., size // 2 :] for a in (q_hk, k_mhk))
      turn_m1k = np.exp(1j * distance_m[:, None, None] * self._frequencies(size))
      scores_mh = (q * np.conj(k) * turn_m1k).real.sum(-1)
    else:
      scores_mh = (q_hk * k_mhk).sum(-1)
    if self.config.positions == 't5':
      scores_mh = scores_mh + params['bias_jh'][[_bucket(distance) for distance in distance_m]]
    scale = np.abs(params['scale_h']) if self.config.normalize_qk else 1 / math.sqrt(size)
    weights_mh = softmax(scores_mh * scale, axis=0)
    return np.einsum('mh,mhk->hk', weights_mh, v_mhk), weights_mh.sum(1)

  def _frequencies(self, size):
    """Of rotary positions, with Llama 3's scaling by wavelength."""
    omega = self.config.rotary_base ** (-np.arange(0, size, 2) / size)
    if (scaling := self.config.rotary_scaling) is None:
      return omega
    wavelength, original = 2 * math.pi / omega, scaling.original_max_position_embeddings
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    smooth = (original / wavelength - low) / (high - low)
    mixed = (1 - smooth) * omega / scaling.factor + smooth * omega
    scaled = np.where(wavelength > original / low, omega / scaling.factor, mixed)
    return np.where(wavelength < original / high, omega, scaled)

  def _feed_forward(self, x_ld):
    params, kind = self.params['feed_forward'], self.config.feed_forward
    x = _dense(params['w_in'], x_ld)
    if kind == 'swiglu':
      gate = _dense(params['w_gate'], x_ld)
      return _dense(params['w_out'], x * gate * sigmoid(gate))
    activations = {
      'relu': np.maximum(x, 0),
      'gelu': 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
      'gelu_erf': 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    }
    return _dense(params['w_out'], activations[kind])

  def _heads(self, x_td):
    return x_td.reshape(len(x_td), self.config.num_heads, -1)


def _bucket(distance):
  """One of 32 buckets: 16 of one token each, then 16 of geometrically growing widths up to 128 tokens."""
  edges = [*range(1, 17), *(16 * 8 ** (i / 16) for i in range(1, 16))]
  return sum(distance >= edge for edge in edges)


def _dense(params, x):
  return x @ params['kernel'] + params.get('bias', 0)


def _norm(config, params, x_ld):
  if config.norm == 'layernorm':
    x_ld = x_ld - x_ld.mean(-1, keepdims=True)
  x_ld = x_ld / np.sqrt((x_ld**2).mean(-1, keepdims=True) + config.norm_epsilon)
  return x_ld * params['scale'] + params.get('bias', 0)


def _float64(tree):
  if isinstance(tree, dict):
    return {name: _float64(branch) for name, branch in tree.items()}
  return np.asarray(tree, np.float64)
