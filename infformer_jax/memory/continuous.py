"""The ∞-former's long-term memory: the past as a continuous signal, read through densities over time.

Source: Martins, Marinho, Martins, ∞-former (ACL 2022), section 3; published code: long_term_attention.py.
Differs from it: the state is an argument; every constant is a field (continuous_config.py); two presets
reproduce the published settings. The default keeps at least .98 n values of the past, the presets .23 n and
.47 n.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.core import losses, read, signal, sticky
from infformer_jax.core.density import kl_regularizer
from infformer_jax.core.located import Located
from infformer_jax.core.pytree import pytree
from infformer_jax.core.signal_spec import SignalSpec
from infformer_jax.memory.base import Memory, Site, View, identity
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
  """The long-term memory of one layer; its context is added to the output of local attention."""

  config: ContinuousConfig

  def __init__(self, config: ContinuousConfig, site: Site, *, rngs: nnx.Rngs):
    super().__init__(config, site, rngs=rngs)
    d, h, k, n, dtype = site.d_model, site.num_heads, site.head_dim, config.num_basis, site.param_dtype
    dense = nnx.initializers.variance_scaling(1.0, 'fan_in', 'truncated_normal', in_axis=0, out_axis=(1, 2))
    # Nearly zero at first: an untrained memory adds noise, which slows the training of the layers below.
    out = nnx.initializers.variance_scaling(1e-4, 'fan_in', 'truncated_normal', in_axis=(0, 1), out_axis=2)
    self.w_k_dhk = nnx.Param(dense(rngs.params(), (d, h, k), dtype))
    self.w_v_dhk = nnx.Param(dense(rngs.params(), (d, h, k), dtype))
    self.w_o_hkd = nnx.Param(out(rngs.params(), (h, k, d), dtype))
    affine = nnx.initializers.normal(1 / math.sqrt(n))
    if self.located and config.mixture == 1:
      self.w_mu_n = nnx.Param(affine(rngs.params(), (n,), dtype))
      self.w_sigma_n = nnx.Param(affine(rngs.params(), (n,), dtype))
    elif self.located:  # c components
      self.w_mu_cn = nnx.Param(affine(rngs.params(), (config.mixture, n), dtype))
      self.w_sigma_cn = nnx.Param(affine(rngs.params(), (config.mixture, n), dtype))
      self.w_pi_cn = nnx.Param(affine(rngs.params(), (config.mixture, n), dtype))
    if config.gate:
      self.gate = nnx.Conv(d, d, 3, padding='SAME', param_dtype=dtype, rngs=rngs)

  @property
  def spec(self) -> SignalSpec:
    return self.config.signal_spec(self.site.segment_length)

  @property
  def located(self) -> bool:
    """Whether affines of the scores locate the density."""
    return self.config.read_spec().num_affines > 0

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

  def write(
    self, state: ContinuousState, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> ContinuousState:
    new_bnd = self._new_part(state.writes_b, past.x_bld)
    return self._add_old_part(state, new_bnd, past.whole_b, key_b)

  def _new_part(self, writes_b: Array, x_bld: Array) -> Array:
    return signal.new_part(self.spec, writes_b, self.gated(x_bld.astype(self.site.state_dtype)))

  def _add_old_part(
    self, state: ContinuousState, new_bnd: Array, whole_b: Array, key_b: Array | None
  ) -> ContinuousState:
    """The rest of a write: what depends on the state."""
    points_bp = self._points(state, key_b)
    written_bnd = signal.add_old_part(self.spec, state.b_bnd, state.writes_b, new_bnd, points_bp)
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
    prepared = read.prepare(readable_bnd, self.w_k_dhk[...], self.w_v_dhk[...], *self._affines())
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
      stats = plots['histogram_bj'] = self._histogram(answer.density, ok_bl)
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
    """Only what depends on earlier segments is computed one after the other: A B and, if sticky, histograms.

    The new values of all segments are regressed at once before, and all reads are computed at once after.
    """
    b, s = new_doc_bs.shape
    new_rows = self._new_part(
      _writes_before(state.writes_b, new_doc_bs, pasts.whole_b).reshape(b * s),
      pasts.x_bld.reshape(b * s, *pasts.x_bld.shape[2:]),
    )
    new_bsnd = new_rows.reshape(b, s, *new_rows.shape[1:])

    def step(state: ContinuousState, xs: Any) -> tuple[ContinuousState, tuple[ContinuousState, Array]]:
      new_bnd, segment, whole_b, new_doc_b, key_b = xs
      state = self._add_old_part(self.reset(state, new_doc_b), new_bnd, whole_b, key_b)
      viewed, ok_b = view(self, state)
      if state.histogram_bj is not None:
        state = self.observe(state, self._histogram_of(viewed, segment))
      return state, (viewed, ok_b)

    xs = jax.tree.map(
      lambda a: jnp.moveaxis(a, 1, 0), (new_bsnd, segments, pasts.whole_b, new_doc_bs, keys_bs)
    )
    state, viewed = jax.lax.scan(step, state, xs)
    viewed, ok_bs = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), viewed)
    viewed, segments = jax.tree.map(lambda a: a.reshape(b * s, *a.shape[2:]), (viewed, segments))
    reads = self.read(viewed, segments, project)
    aux, reads = reads.aux, dataclasses.replace(reads, aux={}, stats=None)  # aux is summed over all rows.
    reads = jax.tree.map(lambda a: a.reshape(b, s, *a.shape[1:]), reads)
    return state, dataclasses.replace(reads, aux=aux, ok_b=ok_bs)

  def _histogram(self, density: Any, ok_bl: Array) -> Array:
    """The mass of the densities in each bin, summed over heads and real queries: [b, j]."""
    config = self.config
    margin = sticky.PUBLISHED_MARGIN if config.sampling == 'edges' else 0.0
    spec, basis, bins = config.read_spec(), config.basis_spec(), config.histogram_bins
    return read.masses(spec, basis, density, ok_bl, num_bins=bins, margin=margin).sum(axis=1)

  def _histogram_of(self, state: ContinuousState, segment: Segment) -> Array:
    """The histogram of a read alone, without its values and without gradients."""
    spec, basis = self.config.read_spec(), self.config.basis_spec()
    b_bnd, w_k_dhk, affines, q_blhk = jax.lax.stop_gradient(
      (state.b_bnd, self.w_k_dhk[...], self._affines(), segment.q_blhk)
    )
    keys_bmhk = read.keys(spec.readable(basis, b_bnd), w_k_dhk, *affines)
    density = read.locate(spec, basis, keys_bmhk, q_blhk)
    return self._histogram(density, segment.ok_bl & self.filled(state)[:, None])

  def _affines(self) -> list[Array]:
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
    return sticky.points(state.histogram_bj, num, key_b=key_b if sampling == 'random' else None)

  def _aux(self, answer: read.Answer, ok_bl: Array) -> dict[str, tuple[Array, Array]]:
    config = self.config
    if not config.kl_weight:
      return {}
    density = answer.density
    kl_bhlc = kl_regularizer(density.sigma_sq_bhlc, config.kl_sigma, mu=density.mu_bhlc, mu_0=config.kl_mu)
    kl_bhl = (density.weight_bhlc * kl_bhlc).sum(axis=-1)
    return {'kl': losses.masked_sum(kl_bhl, jnp.broadcast_to(ok_bl[:, None], kl_bhl.shape))}


def _writes_before(writes_b: Array, new_doc_bs: Array, whole_bs: Array) -> Array:
  """How many writes each segment's row has had before its own: [b, s]."""

  def step(writes_b: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
    new_doc_b, whole_b = xs
    before_b = jnp.where(new_doc_b, 0, writes_b)
    return before_b + whole_b.astype(writes_b.dtype), before_b

  return jax.lax.scan(step, writes_b, (new_doc_bs.T, whole_bs.T))[1].T
