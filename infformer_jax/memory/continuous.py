"""The ∞-former's long-term memory: the past as a continuous signal, read through densities over time.

Source: Martins, Marinho, Martins, ∞-former (ACL 2022), section 3; published code: long_term_attention.py.
Differs from it: the state is an argument; every constant is a field (continuous_config.py); two presets
reproduce the published settings. The default keeps at least .98 n values of the past, the presets .23 n and
.47 n.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.core import initializers, losses, read, signal, sticky
from infformer_jax.core.density import kl_regularizer
from infformer_jax.core.located import Located
from infformer_jax.core.pytree import pytree
from infformer_jax.core.signal_spec import SignalSpec
from infformer_jax.memory import continuous_scan
from infformer_jax.memory.base import Constant, Memory, Site, View, identity
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment

PLOT_BINS = 128
"""Equal bins of [0, 1], for which the plots of a read give the mass of its density."""


@pytree
class ContinuousState:
  """The signal of every lane."""

  b_bnd: Array  # coefficients, float32 or wider
  writes_b: Array  # int32, writes since the start of the document
  histogram_bj: Array | None  # mass of the last reads, not normalized; None: the sampling is even


class Continuous(Memory):
  """The long-term memory of one layer; its context is added to the output of local attention.

  A subclass that changes `write` or `read` changes `scan` as well, which does not call `write`.
  """

  config: ContinuousConfig

  def __init__(self, config: ContinuousConfig, site: Site, *, rngs: nnx.Rngs):
    super().__init__(config, site, rngs=rngs)
    d, h, k, n, dtype = site.d_model, site.num_heads, site.head_dim, config.num_basis, site.param_dtype
    published = config.initial_output == 'published'
    dense = initializers.normal(0.02) if published else initializers.fan_in(in_axis=0, out_axis=(1, 2))
    small = initializers.fan_in(1e-4, in_axis=(0, 1), out_axis=2)
    out = {'small': small, 'zero': initializers.zeros, 'published': dense}[config.initial_output]
    self.w_k_dhk = nnx.Param(dense(rngs.params(), (d, h, k), dtype))
    self.w_v_dhk = nnx.Param(dense(rngs.params(), (d, h, k), dtype))
    self.w_o_hkd = nnx.Param(out(rngs.params(), (h, k, d), dtype))
    affine = dense if published else initializers.normal(1 / math.sqrt(n))
    if self.located and config.mixture == 1:
      self.w_mu_n = nnx.Param(affine(rngs.params(), (n,), dtype))
      self.w_sigma_n = nnx.Param(affine(rngs.params(), (n,), dtype))
    elif self.located:  # c components
      self.w_mu_cn = nnx.Param(affine(rngs.params(), (config.mixture, n), dtype))
      self.w_sigma_cn = nnx.Param(affine(rngs.params(), (config.mixture, n), dtype))
      self.w_pi_cn = nnx.Param(affine(rngs.params(), (config.mixture, n), dtype))
    if config.gate:
      uniform = initializers.uniform(1 / math.sqrt(3 * d))  # PyTorch's default
      self.gate = nnx.Conv(
        d,
        d,
        3,
        padding='SAME',
        kernel_init=uniform if published else initializers.fan_in(),
        bias_init=uniform if published else initializers.zeros,
        param_dtype=dtype,
        rngs=rngs,
      )

  @property
  def spec(self) -> SignalSpec:
    return self.config.signal_spec(self.site.segment_length)

  @property
  def located(self) -> bool:
    """Whether affines of the scores locate the density."""
    return self.config.read_spec().num_affines > 0

  def constants(self) -> dict[str, PyTree]:
    even = self.config.sampling == 'even'
    return {f'{self.spec} {even}': signal.write_constants(self.spec, even=even, dtype=self.site.state_dtype)}

  def use(self, constants: Mapping[str, PyTree]) -> None:
    (name,) = self.constants()
    self.operators = Constant(constants[name])

  def aux_weights(self) -> dict[str, float]:
    return {'kl': self.config.kl_weight} if self.config.kl_weight else {}

  def init_state(self, batch: int, dtype: Any) -> ContinuousState:
    wide, config = self.site.state_dtype, self.config
    sticky_bins = None if config.sampling == 'even' else jnp.zeros((batch, config.histogram_bins), wide)
    return ContinuousState(
      b_bnd=jnp.zeros((batch, config.num_basis, self.site.d_model), wide),
      writes_b=jnp.zeros((batch,), jnp.int32),
      histogram_bj=sticky_bins,
    )

  def filled(self, state: ContinuousState) -> Array:
    return state.writes_b > 0

  def start(self, state: ContinuousState) -> Array | None:
    """Where the document of each lane begins in [0, 1]; None: at 0 (core/time_axis.py)."""
    return self.spec.axis.start(state.writes_b, self.site.state_dtype)

  def write(
    self, state: ContinuousState, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> ContinuousState:
    new_bnd = self.new_part(state.writes_b, self.fed(past))
    return self.add_old_part(state, new_bnd, past.whole_b, key_b)

  def fed(self, past: Past) -> Array:
    """The values [b, l, d] that the config feeds to the memory.

    Raises:
      ValueError: these are the residual stream, and `past` has none.
    """
    if self.config.feed == 'normed':
      return past.x_bld
    if past.residual_bld is None:
      raise ValueError("past.residual_bld = None: a memory with feed = 'residual' needs the residual stream")
    return past.residual_bld

  def new_part(self, writes_b: Array, x_bld: Array) -> Array:
    """What a write takes from the new values alone, by the number of writes before it (core/signal.py)."""
    x_bld = self.gated(x_bld.astype(self.site.state_dtype))
    return signal.new_part(self._operators(), writes_b, x_bld)

  def add_old_part(
    self, state: ContinuousState, new_bnd: Array, whole_b: Array, key_b: Array | None
  ) -> ContinuousState:
    """The rest of a write: what depends on the state (core/signal.py)."""
    points_bp = self._points(state, key_b)
    written_bnd = signal.add_old_part(
      self.spec, self._operators(), state.b_bnd, state.writes_b, new_bnd, points_bp
    )
    histogram_bj = state.histogram_bj
    return ContinuousState(
      b_bnd=jnp.where(whole_b[:, None, None], written_bnd, state.b_bnd),
      writes_b=state.writes_b + whole_b.astype(state.writes_b.dtype),
      histogram_bj=None if histogram_bj is None else jnp.where(whole_b[:, None], 0, histogram_bj),
    )

  def gated(self, x_bld: Array) -> Array:
    """The values that are written: X ⊙ sigmoid(conv(X)), or X without a gate."""
    return x_bld * jax.nn.sigmoid(self.gate(x_bld)) if self.config.gate else x_bld

  def prepare(self, state: ContinuousState, project: Project | None = None) -> PyTree:
    readable_bnd = self.config.read_spec().readable(self.config.basis_spec(), state.b_bnd)
    start_b = self.start(state)
    weights = self.w_k_dhk[...], self.w_v_dhk[...]
    prepared = read.prepare(readable_bnd, *weights, *self.affines(), start_b=start_b)
    return prepared, self.filled(state)

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    constant, filled_b = prepared
    config = self.config
    spec, basis = config.read_spec(), config.basis_spec()
    answer = read.read(spec, basis, constant, segment.q_blhk)
    added_bld = jnp.einsum(
      'blhk,hkd->bld', answer.context_blhk, self.w_o_hkd[...].astype(segment.q_blhk.dtype)
    )
    ok_bl = segment.ok_bl & filled_b[:, None]
    masses_bhj = read.masses(spec, basis, answer.density, ok_bl, num_bins=PLOT_BINS)
    plots = {'masses_bhj': masses_bhj, 'ok_b': filled_b}
    stats = None
    if config.sampling != 'even':
      stats = plots['histogram_bj'] = self.histogram(answer.density, ok_bl)
    if isinstance(answer.density, Located) and config.mixture == 1:
      plots['mu_bhl'] = answer.density.mu_bhlc[..., 0]
      plots['sigma_sq_bhl'] = answer.density.sigma_sq_bhlc[..., 0]
    return Read(
      added_bld=jnp.where(filled_b[:, None, None], added_bld, 0),
      stats=stats,
      aux=self._aux(answer, ok_bl),
      plots=plots,
    )

  def observe(self, state: ContinuousState, stats: PyTree) -> ContinuousState:
    if state.histogram_bj is None:
      return state
    return dataclasses.replace(state, histogram_bj=state.histogram_bj + stats)

  def scan(
    self,
    state: ContinuousState,
    segments: Segment,
    pasts: Past,
    new_doc_bs: Array,
    project: Project | None = None,
    *,
    keys_bs: Array | None = None,
    view: View = identity,
  ) -> tuple[ContinuousState, Read]:
    return continuous_scan.scan(self, state, segments, pasts, new_doc_bs, keys_bs=keys_bs, view=view)

  def histogram(self, density: Any, ok_bl: Array) -> Array:
    """The mass of the densities in each bin, summed over heads and real queries: [b, j]."""
    config = self.config
    margin = sticky.PUBLISHED_MARGIN if config.sampling == 'edges' else 0.0
    spec, basis, bins = config.read_spec(), config.basis_spec(), config.histogram_bins
    return read.masses(spec, basis, density, ok_bl, num_bins=bins, margin=margin).sum(axis=1)

  def _operators(self) -> signal.WriteConstants:
    if hasattr(self, 'operators'):
      return self.operators.get_value()
    (constants,) = self.constants().values()
    return constants

  def affines(self) -> list[Array]:
    """w_μ of every component, then w_σ, then of a mixture w_π; each [n]."""
    if not self.located:
      return []
    if self.config.mixture == 1:
      return [self.w_mu_n[...], self.w_sigma_n[...]]
    return [*jnp.concatenate([self.w_mu_cn[...], self.w_sigma_cn[...], self.w_pi_cn[...]])]

  def _points(self, state: ContinuousState, key_b: Array | None) -> Array | None:
    """The points [b, p] at which the old signal is sampled; None: evenly."""
    sampling, num = self.config.sampling, self.spec.num_samples
    if sampling == 'even':
      return None
    if sampling == 'edges':
      return sticky.left_edge_points(state.histogram_bj, num, key_b=key_b)
    key_b = key_b if sampling == 'random' else None
    points_bp = sticky.points(state.histogram_bj, num, key_b=key_b, start_b=self.start(state))
    return self.spec.axis.limited(points_bp)

  def _aux(self, answer: read.Answer, ok_bl: Array) -> dict[str, tuple[Array, Array]]:
    config = self.config
    if not config.kl_weight:
      return {}
    density = answer.density
    mu_bhlc, sigma_sq_bhlc = density.in_span()
    kl_bhlc = kl_regularizer(sigma_sq_bhlc, config.kl_sigma, mu=mu_bhlc, mu_0=config.kl_mu)
    kl_bhl = (density.weight_bhlc * kl_bhlc).sum(axis=-1)
    return {'kl': losses.masked_sum(kl_bhl, jnp.broadcast_to(ok_bl[:, None], kl_bhl.shape))}
