"""The compressive memory, with one slot per `rate` tokens."""

import math

import numpy as np

from tests.reference.functions import softmax
from tests.reference.memories import Memory


class Compressive(Memory):
  """Stores the newest `length` slots and the last written segment."""

  def __init__(self, *args):
    super().__init__(*args)
    self.segments, self.stored = 0, []

  def write(self, x_ld):
    config, start = self.config, self.segments * len(x_ld)
    self.segments, self.old_ld = self.segments + 1, x_ld
    if config.compression == 'most_used':
      ranked = sorted(range(len(x_ld)), key=lambda i: -self.received_l[i])
      new = [(x_ld[i], start + i) for i in sorted(ranked[: len(x_ld) // config.rate])]
    else:
      middle = start + (config.rate - 1) / 2
      new = [(x_d, middle + i * config.rate) for i, x_d in enumerate(self._compressed(x_ld))]
    self.new_md = np.array([x_d for x_d, _ in new])
    self.stored = [*self.stored, *new][-config.length :]

  def compressed(self, now):
    if self.config.positions == 'age':
      return self.stored
    before = now if self.config.source == 'previous' else now - self.model.short_term_length
    return [(x_d, before - len(self.stored) + i) for i, (x_d, _) in enumerate(self.stored)]

  def read(self, q_hk):
    """Computes only the loss."""
    if self.stored and self.config.loss == 'attention':
      old_hk, new_hk = (self._attended(q_hk, x_md) for x_md in (self.old_ld, self.new_md))
      self.aux += [((old_hk - new_hk) ** 2).mean(), 1]
    elif self.stored and self.config.loss == 'auto_encoding':
      taps = list(zip(self.params['decoder']['w_cde'], self.params['decoder']['b_ce'], strict=True))
      decoded_ld = [x_d @ w_de + b_e for x_d in self.new_md for w_de, b_e in taps]
      self.aux += [((decoded_ld - self.old_ld) ** 2).mean(), 1]
    return 0.0

  def _attended(self, q_hk, x_md):
    k_mhk, v_mhk = self.project(x_md)
    weights_mh = softmax((q_hk * k_mhk).sum(-1) / math.sqrt(q_hk.shape[1]), axis=0)
    return np.einsum('mh,mhk->hk', weights_mh, v_mhk)

  def _compressed(self, x_ld):
    rate, kind, params = self.config.rate, self.config.compression, self.params.get('compressor', {})
    for i in range(len(params.get('around_3de', ()))):
      step, out_ld = 2**i, params['around_e'][i]
      padded = np.pad(x_ld, ((step, step), (0, 0)))
      for tap in range(3):
        out_ld = out_ld + padded[tap * step : tap * step + len(x_ld)] @ params['around_3de'][i][tap]
      x_ld = x_ld + np.maximum(out_ld, 0)
    cells = [x_ld[start : start + rate] for start in range(0, len(x_ld), rate)]
    if kind in ('mean', 'max'):
      return [cell.mean(0) if kind == 'mean' else cell.max(0) for cell in cells]
    taps = params['w_cde']
    return [sum(x_d @ w_de for x_d, w_de in zip(cell, taps, strict=True)) + params['b_e'] for cell in cells]
