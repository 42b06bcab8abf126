"""The published formulas in plain NumPy: files in the lta format for further settings.

Shares no code with the library: inverses instead of factorizations, explicit keys and scores, sparsemax by
quadrature. Values only, no gradients.
"""

import json
import math

import numpy as np

GPT2 = {
  'repo': 'gpt2',
  'H': 2,  # heads
  'd': 4,  # width of a head
  'L': 12,
  'nb': 8,
  'Q': 5,
  'Bt': 3,
  'sticky': False,
  'mask': True,
  'sigmas': None,
  'attn_func': 'softmax',
  'affines': True,
  'mu_0_used': -1,
  'sigma_0': 0.05,
  'tau': 0.5,
  'ridge': 0.5,
  'clamp': 1e-4,
  'r_stride': 1,
}
SORTING = GPT2 | {
  'repo': 'sorting',
  'mask': False,
  'tau': 0.75,
  'ridge': 1.0,
  'clamp': 1e-6,
  'mu_0_used': None,
}


def make(meta, *, num_samples=8, lengths=None, segments=3, seed=0):
  """The arrays of a file.

  Args:
    meta: the settings.
    num_samples: samples of the past per write.
    lengths: length of each segment; None means L for all. Only the first may differ.
  """
  rng = np.random.default_rng(seed)
  heads, size, batch, n = meta['H'], meta['d'], meta['Bt'], meta['nb']
  width, lengths = heads * size, lengths or [meta['L']] * segments
  widths = meta['sigmas'] or {'gpt2': (0.005, 0.01), 'sorting': (0.01, 0.05)}[meta['repo']]
  centres, sigmas = (
    np.repeat(np.linspace(0, 1, n // len(widths)), len(widths)),
    np.tile(widths, n // len(widths)),
  )
  names = ['proj_query.weight', 'proj_key.weight', 'proj_value.weight', 'attn_out.weight']
  param = {name: rng.normal(size=(width, width)) / math.sqrt(width) for name in names}
  param['attn_out.weight'] = param['attn_out.weight'][: meta.get('d_model')]
  if meta['affines']:
    param |= {name: rng.normal(size=(1, n)) for name in ('mu.weight', 'sigma.weight')}
  if meta['mask']:
    param |= {
      'mask_net.weight': 0.3 * rng.normal(size=(width, width, 3)),
      'mask_net.bias': rng.normal(size=width),
    }
  out = {'meta': np.array(json.dumps(meta)), 'basis_mu': centres, 'basis_sigma': sigmas}
  out |= {f'param/{name}': value for name, value in param.items()}

  def psi(t):
    return np.exp(-0.5 * ((np.asarray(t)[..., None] - centres) / sigmas) ** 2) / (
      sigmas * math.sqrt(2 * math.pi)
    )

  def operator(positions, kept):
    f = psi(positions)
    return (f @ np.linalg.inv(f.T @ f + meta['ridge'] * np.eye(n)))[kept]

  even = np.arange(1, num_samples + 1) / num_samples
  out['samples'] = psi(even)
  b = mu = sigma_sq = None  # of the previous segment
  for i, length in enumerate(lengths):
    k, q = rng.normal(size=(batch, length, width)), rng.normal(size=(batch, heads, meta['Q'], size))
    x = k
    if meta['mask']:
      padded = np.pad(k, ((0, 0), (1, 1), (0, 0)))
      conv = sum(padded[:, j : j + length] @ param['mask_net.weight'][:, :, j].T for j in range(3))
      gate = 1 / (1 + np.exp(-conv - param['mask_net.bias']))
      out[f'seg{i}/reg_mask'] = gate.swapaxes(1, 2)
      x = k * gate
    if b is None:
      cells = (np.arange(-(length // 2), length + length // 2) + 0.5) / length
      g = operator(cells, (cells > 0) & (cells < 1))
      out[f'positions/{length}'], out[f'G/{length}'] = cells, g
      b = g.T @ x
    else:
      count = length + num_samples
      shift = 1 / count if length % 2 else 1 / (2 * length + num_samples)
      padding = np.linspace(-0.5 + shift, 1.5 - shift, 2 * count - length % 2)
      inside = [*(meta['tau'] * even), *(meta['tau'] + (1 - meta['tau']) * np.arange(1, length + 1) / length)]
      positions = np.array([*padding[padding < 0], *inside, *padding[padding > 1]])
      g = operator(positions, slice(count // 2, len(positions) - count // 2))
      points = np.broadcast_to(even, (batch, num_samples))
      if meta['sticky']:
        edges = np.linspace(0, 1, 129)
        outer = np.array([-1e-6, *edges[1:-1], 1 + 1e-6])
        erf = np.vectorize(math.erf)
        z = (outer - mu[..., None]) / np.sqrt(2 * sigma_sq[..., None])
        mass = np.diff(0.5 * erf(z)).sum(axis=(1, 2))
        points = np.sort(rng.choice(128, size=(batch, num_samples)), axis=1) / 128
        out[f'seg{i}/ts'], out['bins'] = points, edges
        out[f'seg{i}/p'] = mass / mass.sum(-1, keepdims=True)
      past = np.einsum('bpn,bnd->bpd', psi(points), b)
      out[f'seg{i}/xm_tau'] = past.swapaxes(1, 2)
      out['positions_inf'], out['G_inf'] = positions, g
      b = g.T @ np.concatenate([past, x], axis=1)

    keys, values = (
      (b @ param[f'proj_{name}.weight'].T).reshape(batch, n, heads, size) for name in ('key', 'value')
    )
    scores = np.einsum('bhqd,bnhd->bhqn', q, keys) / math.sqrt(size)
    if meta['affines']:
      mu = 1 / (1 + np.exp(-scores @ param['mu.weight'][0]))
      sigma_sq = np.logaddexp(0, scores @ param['sigma.weight'][0])
    else:
      scores = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
      mu = scores @ centres
      sigma_sq = scores @ (centres**2 + sigmas**2) - mu**2
    sigma_sq = np.maximum(sigma_sq, meta['clamp'])
    if meta['attn_func'] == 'softmax':
      variance = sigma_sq[..., None] + sigmas**2
      r = np.exp(-0.5 * (mu[..., None] - centres) ** 2 / variance) / np.sqrt(2 * math.pi * variance)
    else:
      u, weights = np.polynomial.legendre.leggauss(300)
      t = mu[..., None] + np.cbrt(1.5 * sigma_sq)[..., None] * u
      r = np.einsum('bhqun,u->bhqn', psi(t), 0.75 * weights * (1 - u**2))
    pre = np.einsum('bhqn,bnhd->bqhd', r, values).reshape(batch, meta['Q'], width)
    context = pre @ param['attn_out.weight'].T
    ratio = sigma_sq / meta['sigma_0'] ** 2
    kl = 0.5 * (ratio - np.log(ratio) - 1)
    mean = 0 if meta['mu_0_used'] is None else 0.5 * (mu - meta['mu_0_used']) ** 2 / meta['sigma_0'] ** 2
    if meta['repo'] == 'sorting':
      k, pre, context = (a.swapaxes(0, 1) for a in (k, pre, context))
      q = q.transpose(2, 0, 1, 3).reshape(meta['Q'], batch, width)
    found = {'k': k, 'q': q, 'B': b, 'mu': mu, 'sigma_sq': sigma_sq, 'r': r[:, :, :: meta['r_stride']]}
    found |= {'scores': scores, 'context_pre': pre, 'context': context}
    found |= {'kl_reg_nomu': kl.reshape(batch, -1), 'kl_reg': (kl + mean).reshape(batch, -1)}
    out |= {f'seg{i}/{name}': value for name, value in found.items()}
  return out
