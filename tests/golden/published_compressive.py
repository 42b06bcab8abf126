"""Files in the format of compressive.py for tests of the checker, from a NumPy version of the port."""

import numpy as np


def make(meta, *, batch=2):
  """The arrays of the case 'full', without gradients.

  Args:
    meta: sequence, width, heads, rate, memory length, compressed length, memory given, compressed given.
  """
  length, d, heads, rate, mem_len, cmem_len, mem_given, cmem_given = meta
  rng = np.random.default_rng(0)
  weight = rng.normal(size=(d, d, rate)) / (rate * d) ** 0.5
  w_q, w_k, w_v, w_out = rng.normal(size=(4, d, d)) / d**0.5
  conv_bias, out_bias = rng.normal(size=(2, d))
  x, mem, cmem = (rng.normal(size=(batch, n, d)) for n in (length, mem_given, cmem_given))

  def split(y_btd):
    return y_btd.reshape(*y_btd.shape[:2], heads, -1).transpose(0, 2, 1, 3)

  def attend(k, v, seen):
    scores = np.where(seen, q @ k.swapaxes(2, 3) / (d / heads) ** 0.5, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v

  q, everything = split(x @ w_q.T), np.concatenate([cmem, mem, x], axis=1)
  k, v = split(everything @ w_k.T), split(everything @ w_v.T)
  seen = np.arange(k.shape[2]) <= np.arange(length)[:, None] + cmem_given + mem_given
  context = attend(k, v, seen).transpose(0, 2, 1, 3).reshape(x.shape)
  timeline = everything[:, cmem_given:]
  gone = max(0, mem_given + length - mem_len)
  arrays = {
    'meta': np.array(meta),
    'param/compress_mem_fn.conv.weight': weight,
    'param/compress_mem_fn.conv.bias': conv_bias,
    'param/to_q.weight': w_q,
    'param/to_kv.weight': np.concatenate([w_k, w_v]),
    'param/to_out.weight': w_out,
    'param/to_out.bias': out_bias,
    'x': x,
    'q': q,
    'out': context @ w_out.T + out_bias,
    'new_mem': timeline[:, gone:],
    'new_cmem': cmem,
    'aux_loss': np.zeros(1),
  }
  arrays |= ({'mem': mem} if mem_given else {}) | ({'cmem': cmem} if cmem_given else {})
  if gone:
    old = np.pad(timeline[:, :gone], ((0, 0), (gone % rate, 0), (0, 0)))
    slots = range(old.shape[1] // rate)
    taps = [np.einsum('bcd,edc->be', old[:, m * rate : (m + 1) * rate], weight) + conv_bias for m in slots]
    compressed = np.stack(taps, axis=1)
    arrays |= {
      'old_mem': old,
      'compressed_mem': compressed,
      'new_cmem': np.concatenate([cmem, compressed], axis=1)[:, -cmem_len:],
    }
    if mem_given:
      old_kv = tuple(y[:, :, cmem_given : cmem_given + mem_given] for y in (k, v))
      new_kv = split(compressed @ w_k.T), split(compressed @ w_v.T)
      read = attend(*old_kv, True), attend(*new_kv, True)
      names = ('old_mem_k', 'old_mem_v', 'cmem_k', 'cmem_v', 'attn_old', 'attn_comp')
      arrays |= dict(zip(names, old_kv + new_kv + read, strict=True))
      arrays['aux_loss'] = ((read[0] - read[1]) ** 2).mean()
  return {f'full/{name}': value for name, value in arrays.items()}
