"""Converts settings and parameters of the published long-term memory to those of this library."""

import functools
import json
from typing import Any, Literal
from unittest import mock

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.core.signal_spec import even_points
from infformer_jax.errors import ConfigError
from infformer_jax.memory.base import Site
from infformer_jax.memory.continuous import Continuous, ContinuousState
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.types import Past, Read, Segment
from tests.golden.report import NotCovered, Report, Settings

Params = dict[str, jax.Array]

_DENSITIES: dict[str, Literal['gaussian', 'sparsemax']] = {'softmax': 'gaussian', 'sparsemax': 'sparsemax'}
_DEFAULT_SIGMAS = {'gpt2': (0.005, 0.01), 'sorting': (0.01, 0.05)}


class Case:
  """The contents of one file. Layouts: gpt2 k [b, l, e], q [b, h, l, k]; sorting k [l, b, e], q [l, b, e]."""

  def __init__(self, report: Report, dtype: Any):
    meta = Settings(json.loads(str(report.input('meta'))))
    self.heads, self.head_dim, self.batch = meta['H'], meta['d'], meta['Bt']
    self.report, self.dtype, self.gpt2 = report, dtype, meta['repo'] == 'gpt2'
    self.r_stride, self.later_length = meta['r_stride'], meta['L']
    self.config = _config(meta, report)
    affines = ['mu.weight', 'sigma.weight'] if self.config.affine else []
    gate = ['mask_net.weight', 'mask_net.bias'] if self.config.gate else []
    names = ['proj_key.weight', 'proj_value.weight', 'attn_out.weight', *affines, *gate]
    self.params: Params = {name: self.array(f'param/{name}') for name in names}

  def array(self, key: str) -> jax.Array:
    """An input of the file."""
    return jnp.asarray(self.report.input(key), self.dtype)

  def memory(self, length: int, params: Params) -> Continuous:
    """The library's memory for segments of this length, with the published parameters."""
    site = Site(
      d_model=self.heads * self.head_dim,
      num_heads=self.heads,
      head_dim=self.head_dim,
      segment_length=length,
      param_dtype=self.dtype,
    )
    w = {name.removesuffix('.weight'): value.T for name, value in params.items()}  # [..., in, out]
    heads = (self.heads, self.head_dim)
    ours: dict[str, Any] = {
      'w_k_dhk': w['proj_key'].reshape(-1, *heads),
      'w_v_dhk': w['proj_value'].reshape(-1, *heads),
      'w_o_hkd': w['attn_out'].reshape(*heads, -1),
    }
    if self.config.affine:
      ours |= {'w_mu_n': w['mu'][:, 0], 'w_sigma_n': w['sigma'][:, 0]}
    if self.config.gate:
      ours['gate'] = {'kernel': w['mask_net'], 'bias': w['mask_net.bias']}
    return nnx.merge(_graphdef(self.config, site), nnx.State(ours))

  def values(self, k: jax.Array) -> jax.Array:
    """The values to write, [b, l, e]."""
    return k if self.gpt2 else jnp.swapaxes(k, 0, 1)

  def queries(self, q: jax.Array) -> jax.Array:
    """The queries, [b, l, h, k]."""
    if self.gpt2:
      return jnp.swapaxes(q, 1, 2)
    return jnp.swapaxes(q, 0, 1).reshape(q.shape[1], q.shape[0], self.heads, self.head_dim)

  def published(self, x: jax.Array) -> jax.Array:
    """Converts a result [b, l, ...] to the layout of the file, with heads merged."""
    x_bld = x.reshape(*x.shape[:2], -1)
    return x_bld if self.gpt2 else jnp.swapaxes(x_bld, 0, 1)

  def write(
    self, memory: Continuous, state: ContinuousState, k: jax.Array, points_bp: jax.Array | None
  ) -> ContinuousState:
    """The write of training, with the sample points of the file instead of random ones."""
    past = Past(x_bld=self.values(k), whole_b=jnp.ones(self.batch, bool))
    if points_bp is None and self.config.sampling != 'even':  # A first write, which ignores them.
      points_bp = jnp.broadcast_to(
        even_points(memory.spec.num_samples), (self.batch, memory.spec.num_samples)
      )
    with mock.patch.object(Continuous, '_points', return_value=points_bp):
      return memory.write(state, past, unused)

  def read(self, memory: Continuous, state: ContinuousState, q: jax.Array) -> Read:
    """The read of training."""
    q_blhk = self.queries(q)
    ok_bl = jnp.ones(q_blhk.shape[:2], bool)
    segment = Segment(q_blhk=q_blhk, ok_bl=ok_bl, offset_bl=jnp.zeros(ok_bl.shape))
    return memory.read(state, segment, unused)


def unused(_: Any) -> Any:
  """Stands in for the projections of the layer, which this memory does not use."""
  raise AssertionError('the continuous memory must use its own projections')


@functools.cache
def _graphdef(config: ContinuousConfig, site: Site) -> Any:
  return nnx.split(Continuous(config, site, rngs=nnx.Rngs(0)), nnx.Param)[0]


def _config(meta: Settings, report: Report) -> ContinuousConfig:
  repo, attention, mu_0 = meta['repo'], meta['attn_func'], meta['mu_0_used']
  if repo not in _DEFAULT_SIGMAS or attention not in _DENSITIES:
    raise NotCovered(f'the library does not support repo {repo!r} with attn_func {attention!r}')
  try:
    return ContinuousConfig(
      num_basis=meta['nb'],
      widths=tuple(meta['sigmas'] or _DEFAULT_SIGMAS[repo]),
      width_unit='absolute',
      num_samples=len(report.arrays['samples']) if 'samples' in report else meta['nb'],
      contraction=meta['tau'],
      ridge=float(meta['ridge']),
      signal_positions='padded',
      gate=meta['mask'],
      sampling='edges' if meta['sticky'] else 'even',
      density=_DENSITIES[attention],
      affine=meta['affines'],
      sigma_floor=meta['clamp'] ** 0.5,
      initial_mu='middle',
      initial_sigma=None,
      kl_weight=1.0,
      kl_sigma=meta['sigma_0'] or 0.05,
      kl_mu=None if mu_0 is None else float(mu_0),
    )
  except ConfigError as error:
    raise NotCovered(f'the library does not support these settings: {error}') from error
