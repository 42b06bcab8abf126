"""The memories of the reference implementation, and their reads for one query."""

import numpy as np

from tests.reference.functions import sigmoid, softmax, unit


def memories(config, params, model, project):
  """A list of memories; a stack is replaced by its parts."""
  from tests.reference.compressive import Compressive
  from tests.reference.continuous import Continuous

  if config.kind == 'stacked':
    parts = (config.first, params.get('first', {})), (config.second, params.get('second', {}))
    return [part for config, params in parts for part in memories(config, params, model, project)]
  kinds = {'none': Memory, 'recent': Recent, 'continuous': Continuous, 'neighbours': Neighbours}
  kinds |= {'compressive': Compressive}
  return [kinds[config.kind](config, params, model, project)]


class Memory:
  """Receives whole segments of the document in order; provides slots (token indices) and contexts."""

  def __init__(self, config, params, model, project):
    self.config, self.params, self.model, self.project = config, params, model, project
    self.slots = []
    self.received_l = None  # attention weight received by the segment to be written
    self.aux = np.zeros(2)

  def write(self, x_ld):
    pass

  def compressed(self, now):
    """(x [d], position in the document) of slots that are not tokens, for a segment that starts at `now`."""
    return []

  def mix(self, q_hk, context_hk):
    """Modifies the local context before W_o."""
    return context_hk

  def read(self, q_hk):
    """The output that is added after W_o."""
    return 0.0


class Recent(Memory):
  """The last `length` tokens that were written."""

  def write(self, x_ld):
    newest = self.slots[-1] + 1 if self.slots else 0
    self.slots = [*self.slots, *range(newest, newest + len(x_ld))][-self.config.length :]


class Neighbours(Memory):
  """The last `length` keys and values; each head of a query retrieves the most similar ones."""

  def __init__(self, *args):
    super().__init__(*args)
    self.stored = []  # (unit key, value) [h, k], oldest first

  def write(self, x_ld):
    k_lhk, v_lhk = self.project(x_ld)
    self.stored = [*self.stored, *zip(unit(k_lhk), v_lhk, strict=True)][-self.config.length :]

  def mix(self, q_hk, context_hk):
    if not self.stored:
      return context_hk
    mixed_hk = np.zeros_like(context_hk)
    for h, q_k in enumerate(unit(q_hk)):
      nearest = sorted(((k_hk[h] @ q_k, tuple(v_hk[h])) for k_hk, v_hk in self.stored), reverse=True)
      scores, values = zip(*nearest[: self.config.neighbours], strict=True)
      weights = softmax(np.array(scores) * abs(self.params['scale_h'][h]), axis=0)
      gate = sigmoid(self.params['gate_h'][h])
      mixed_hk[h] = gate * (weights @ np.array(values)) + (1 - gate) * context_hk[h]
    return mixed_hk
