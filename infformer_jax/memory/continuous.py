"""The ∞-former's long-term memory: the past as a continuous signal, read through densities over time.

Source: Martins, Marinho, Martins, ∞-former (ACL 2022), section 3; published code: long_term_attention.py.
Differs from it: the state is an argument; every constant is a field; the presets below reproduce the two
published settings, and the default keeps at least .98 n values of the past where those keep .23 n and .47 n.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.config import ConfigError
from infformer_jax.core import losses, read, signal, sticky
from infformer_jax.core.basis import Basis
from infformer_jax.core.density import Density, kl_regularizer
from infformer_jax.memory.base import Memory, MemoryConfig, Site
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment, pytree

Sampling = Literal['even', 'sticky', 'random', 'edges']


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinuousConfig(MemoryConfig):
  """The signal (its basis and its writes) and the read. Times are in units of the whole signal, [0, 1]."""

  kind: Literal['continuous'] = 'continuous'
  num_basis: int = 512  # n
  widths: tuple[float, ...] = (0.75,)  # each centre carries every width
  width_unit: Literal['spacing', 'absolute'] = 'spacing'  # 'spacing': width / n
  num_samples: int | None = None  # P, samples of the old signal per write; None: max(n, 512)
  contraction: float = 0.75  # τ: a write squeezes the old signal into [0, τ]
  ridge: float = 0.5  # λ
  signal_positions: Literal['plain', 'padded'] = 'plain'  # 'padded': the published layout
  gate: bool = False  # X ⊙ sigmoid(conv(X, width 3)) before the regression
  # Where the old signal is sampled: evenly; where the heads have read it (evenly stratified, or drawn); or
  # at drawn left edges of the histogram's bins, as published.
  sampling: Sampling = 'sticky'
  histogram_bins: int = 128  # j
  density: Density = 'gaussian'
  renormalize: bool = False  # the density to [0, 1]
  affine: bool = True  # False: moment matching from softmax scores
  # The affines see coefficients times this; None: n, which makes them values of the signal. Published: 1.
  affine_scale: float | None = None
  sigma_floor: float | None = None  # None: half a spacing of the centres
  initial_sigma: float | None = 0.1  # by an offset inside the softplus; None: no offset, σ starts near .83
  kl_weight: float = 0.0  # of KL(N(μ, σ²) ‖ N(kl_mu, kl_sigma²)), averaged over heads and tokens
  kl_sigma: float = 0.05
  kl_mu: float | None = None  # None: without the term of the mean

  def __post_init__(self) -> None:
    for name, least in (('initial_sigma', 1e-4), ('sigma_floor', 1e-6)):
      if (value := getattr(self, name)) is not None and not least <= value <= 10:
        raise ConfigError(f'{name} = {value} is not in [{least}, 10], in units of the whole signal')
    if self.kl_weight < 0 or self.kl_sigma <= 0:
      raise ConfigError(
        f'kl_weight = {self.kl_weight} must not be negative and kl_sigma = {self.kl_sigma} must be positive'
      )
    if self.histogram_bins < 1:
      raise ConfigError(f'histogram_bins = {self.histogram_bins} must be at least 1, such as 128')

    self.signal_spec(1)
    self.read_spec()

  def check(self, segment_length: int) -> None:
    if self.ridge < 1e-3:  # May be too little to solve with; otherwise there is no need to try.
      signal.operators(self.signal_spec(segment_length))

  @property
  def basis(self) -> Basis:
    return Basis(num_basis=self.num_basis, widths=self.widths, unit=self.width_unit)

  def signal_spec(self, segment_length: int) -> signal.SignalSpec:
    """What the constants of a write depend on."""
    samples = max(self.num_basis, 512) if self.num_samples is None else self.num_samples
    return signal.SignalSpec(
      basis=self.basis,
      segment_length=segment_length,
      num_samples=samples,
      contraction=self.contraction,
      ridge=self.ridge,
      positions=self.signal_positions,
    )

  def read_spec(self) -> read.ReadSpec:
    """How a head turns its scores into a density."""
    spacing = 1 / max(1, self.num_basis // len(self.widths) - 1)
    floor = 0.5 * spacing if self.sigma_floor is None else self.sigma_floor
    offset = 0.0 if self.initial_sigma is None else math.log(math.expm1(self.initial_sigma**2))
    return read.ReadSpec(
      density=self.density,
      renormalize=self.renormalize,
      variance_floor=floor**2,
      softplus_offset=offset,
      affine=self.affine,
    )


PUBLISHED_SORTING = ContinuousConfig(
  num_basis=512,
  widths=(0.01, 0.05),
  width_unit='absolute',
  num_samples=512,
  contraction=0.75,
  ridge=1.0,
  signal_positions='padded',
  sampling='edges',
  affine_scale=1.0,
  sigma_floor=1e-3,
  initial_sigma=None,
  kl_weight=1e-6,
)
"""The published sorting experiment (segments of 1024 tokens)."""

PUBLISHED_GPT2 = ContinuousConfig(
  num_basis=512,
  widths=(0.005, 0.01),
  width_unit='absolute',
  num_samples=512,
  contraction=0.5,
  ridge=0.5,
  signal_positions='padded',
  gate=True,
  sampling='edges',
  affine_scale=1.0,
  sigma_floor=1e-2,
  initial_sigma=None,
  kl_weight=1e-6,
  kl_mu=-1.0,  # The published code's test of the mean is inverted: it uses its sentinel as a mean.
)
"""The published GPT-2 experiment (segments of 512 tokens)."""


@pytree
class ContinuousState:
  """The signal of every lane."""

  b_bnd: Array  # coefficients, float32 or wider
  writes_b: Array  # int32, writes since the document began
  histogram_bj: Any  # where the last reads looked, not normalized; () if the sampling is even


class Continuous(Memory):
  """The LTM of one layer: write, then read; its context is added after the output of local attention."""

  config: ContinuousConfig

  def __init__(self, config: ContinuousConfig, site: Site, *, rngs: nnx.Rngs):
    super().__init__(config, site, rngs=rngs)
    d, h, k, n, dtype = site.d_model, site.num_heads, site.head_dim, config.num_basis, site.param_dtype
    dense = nnx.initializers.variance_scaling(1.0, 'fan_in', 'truncated_normal', in_axis=0, out_axis=(1, 2))
    # Nearly nothing at first: what an untrained memory adds is noise, and slows down all that is below it.
    out = nnx.initializers.variance_scaling(1e-4, 'fan_in', 'truncated_normal', in_axis=(0, 1), out_axis=2)
    self.w_k_dhk = nnx.Param(dense(rngs.params(), (d, h, k), dtype))
    self.w_v_dhk = nnx.Param(dense(rngs.params(), (d, h, k), dtype))
    self.w_o_hkd = nnx.Param(out(rngs.params(), (h, k, d), dtype))
    if config.affine:
      affine = nnx.initializers.normal(1 / math.sqrt(n))
      self.w_mu_n = nnx.Param(affine(rngs.params(), (n,), dtype))
      self.w_sigma_n = nnx.Param(affine(rngs.params(), (n,), dtype))
    if config.gate:
      self.gate = nnx.Conv(d, d, 3, padding='SAME', param_dtype=dtype, rngs=rngs)

  @property
  def draws(self) -> bool:  # type: ignore[override]
    return self.config.sampling in ('random', 'edges')

  @property
  def spec(self) -> signal.SignalSpec:
    return self.config.signal_spec(self.site.segment_length)

  def aux_weights(self) -> dict[str, float]:
    return {'kl': self.config.kl_weight} if self.config.kl_weight else {}

  def init_state(self, batch: int, dtype: Any) -> ContinuousState:
    wide, config = self.site.state_dtype, self.config
    sticky_bins = () if config.sampling == 'even' else jnp.zeros((batch, config.histogram_bins), wide)
    return ContinuousState(
      b_bnd=jnp.zeros((batch, config.num_basis, self.site.d_model), wide),
      writes_b=jnp.zeros((batch,), jnp.int32),
      histogram_bj=sticky_bins,
    )

  def filled(self, state: ContinuousState) -> Array:
    return state.writes_b > 0

  def write(
    self, state: ContinuousState, past: Past, project: Project, *, key_b: Array | None = None
  ) -> ContinuousState:
    x_bld = self.gated(past.x_bld.astype(state.b_bnd.dtype))
    written_bnd = signal.write(self.spec, state.b_bnd, state.writes_b, x_bld, self._points(state, key_b))
    whole_b = past.whole_b
    histogram = () if self.config.sampling == 'even' else jnp.where(whole_b[:, None], 0, state.histogram_bj)
    return ContinuousState(
      b_bnd=jnp.where(whole_b[:, None, None], written_bnd, state.b_bnd),
      writes_b=state.writes_b + whole_b,
      histogram_bj=histogram,
    )

  def gated(self, x_bld: Array) -> Array:
    """What of the new values is written: X ⊙ sigmoid(conv(X)), or X itself without a gate."""
    return x_bld * jax.nn.sigmoid(self.gate(x_bld)) if self.config.gate else x_bld

  def prepare(self, state: ContinuousState, project: Project) -> PyTree:
    affines: tuple[Array, ...] = ()
    if self.config.affine:
      scale = self.config.num_basis if self.config.affine_scale is None else self.config.affine_scale
      affines = (scale * self.w_mu_n[...], scale * self.w_sigma_n[...])
    prepared = read.prepare(state.b_bnd, self.w_k_dhk[...], self.w_v_dhk[...], *affines)
    return prepared, self.filled(state)

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    constant, filled_b = prepared
    config = self.config
    answer = read.read(config.read_spec(), config.basis, constant, segment.q_blhk)
    added_bld = jnp.einsum(
      'blhk,hkd->bld', answer.context_blhk, self.w_o_hkd[...].astype(segment.x_bld.dtype)
    )
    ok_bl = segment.ok_bl & filled_b[:, None]
    stats: Any = ()
    if config.sampling != 'even':
      margin = sticky.PUBLISHED_MARGIN if config.sampling == 'edges' else 0.0
      stats = sticky.histogram(
        config.density,
        answer.mu_bhl,
        answer.sigma_sq_bhl,
        ok_bl,
        num_bins=config.histogram_bins,
        margin=margin,
      )
    plots = {'mu_bhl': answer.mu_bhl, 'sigma_sq_bhl': answer.sigma_sq_bhl, 'ok_b': filled_b}
    return Read(
      added_bld=jnp.where(filled_b[:, None, None], added_bld, 0),
      stats=stats,
      aux=self._aux(answer, ok_bl),
      plots=plots,
    )

  def observe(self, state: ContinuousState, stats: PyTree) -> ContinuousState:
    if self.config.sampling == 'even':
      return state
    return dataclasses.replace(state, histogram_bj=state.histogram_bj + stats)

  def _points(self, state: ContinuousState, key_b: Array | None) -> Array | None:
    """Where the old signal is sampled [b, p]; None: evenly."""
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
    kl_bhl = kl_regularizer(answer.sigma_sq_bhl, config.kl_sigma, mu=answer.mu_bhl, mu_0=config.kl_mu)
    return {'kl': losses.masked_sum(kl_bhl, jnp.broadcast_to(ok_bl[:, None], kl_bhl.shape))}
