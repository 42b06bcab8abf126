"""Files in the format of memorizing.py for tests of the checker, from plain loops in NumPy."""

import json

import numpy as np

FEW = {'B': 2, 'T': 6, 'H': 3, 'd': 4, 'window': 6, 'M': 12, 'n_valid': [5, 0], 'K': 8}
LARGE = {'B': 1, 'T': 12, 'H': 8, 'd': 64, 'window': 24, 'M': 256, 'n_valid': [256], 'K': 32}


def make(cases):
  """The arrays of a file with the given cases, without gradients."""
  arrays = {'meta': np.array(json.dumps(cases))}
  for case, meta in cases.items():
    arrays |= {f'{case}/{name}': value for name, value in _case(meta).items()}
  return arrays


def _case(meta):
  rng, (b, t, h, d, m) = np.random.default_rng(0), (meta[name] for name in 'BTHdM')
  window, num = meta['window'], meta['K']
  q_raw, k_raw, v = 2 * rng.normal(size=(3, b, t, h, d))
  prev_k, prev_v = rng.normal(size=(2, b, window, h, d))
  valid = np.arange(m) < np.array(meta['n_valid'])[:, None]
  mem_k, mem_v = rng.normal(size=(2, b, m, h, d)) * valid[:, :, None, None]
  scale, gate_bias = 4 * rng.normal(size=h), rng.normal(size=h)
  pbias = rng.normal(size=(h, t, window + t))
  q, k, prev_k, mem_k = (
    x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-6) for x in (q_raw, k_raw, prev_k, mem_k)
  )
  keys, values = np.concatenate([prev_k, k], axis=1), np.concatenate([prev_v, v], axis=1)
  local, retrieved = np.zeros((2, b, t, h, d))
  index, ok = np.zeros((b, h, t, num), int), np.zeros((b, h, t, num), bool)
  scores = np.full((b, h, t, num), -np.inf)
  for row, head, i in np.ndindex(b, h, t):
    before = slice(i, i + window)  # The keys strictly before query i.
    logits = (keys[row, before, head] @ q[row, i, head] + pbias[head, i, before]) * abs(scale[head])
    local[row, i, head] = _softmax(logits) @ values[row, before, head]
    similar = mem_k[row, valid[row], head] @ q[row, i, head] * abs(scale[head])
    best = np.argsort(-similar)[:num]
    index[row, head, i, : len(best)], ok[row, head, i, : len(best)] = best, True
    scores[row, head, i, : len(best)] = similar[best]
    if len(best):
      retrieved[row, i, head] = _softmax(similar[best]) @ mem_v[row, best, head]
  gate = 1 / (1 + np.exp(-gate_bias))
  mixed = local * (1 - gate[:, None]) + retrieved * gate[:, None]
  given = {'q_raw': q_raw, 'k_raw': k_raw, 'v': v, 'prev_k': prev_k, 'prev_v': prev_v, 'mem_k': mem_k}
  given |= {
    'mem_v': mem_v,
    'mem_valid': valid,
    'attention_scale': scale,
    'gate_bias': gate_bias,
    'pbias': pbias,
  }
  found = {'topk_idx': index, 'topk_valid': ok, 'topk_scores': scores, 'y_ext': retrieved, 'gate': gate}
  return given | found | {'q': q, 'k': k, 'y_local': local, 'y': mixed}


def _softmax(x):
  weights = np.exp(x - x.max())
  return weights / weights.sum()
