"""The settings of the ∞-former's memory: the default, and the two published experiments as presets."""

import dataclasses
import math
from typing import Literal

from infformer_jax.core import signal
from infformer_jax.core.basis import Basis
from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.core.density import GaussianDensity, SparsemaxDensity
from infformer_jax.core.gibbs import GibbsRead
from infformer_jax.core.located import LocatedRead
from infformer_jax.core.read import ReadSpec
from infformer_jax.core.signal_spec import SignalSpec
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.memory import signal_growth
from infformer_jax.memory.memory_config import MemoryConfig, Traits

Sampling = Literal['even', 'sticky', 'random', 'edges']


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinuousConfig(MemoryConfig):
  """The signal (its basis and its writes) and the read. Times are in units of the whole signal, [0, 1]."""

  kind: Literal['continuous'] = 'continuous'
  num_basis: int = 512  # n
  # 'fourier' joins the newest to the oldest, 'rectangular' leaves cells empty where n > l.
  basis: Literal['gaussian', 'rectangular', 'fourier'] = 'gaussian'
  widths: tuple[float, ...] = (0.75,)  # of Gaussians: each centre carries every width
  width_unit: Literal['spacing', 'absolute'] = 'spacing'  # 'spacing': width / n
  # P, samples of the old signal per write; None: max(n, 512), with 'log' max(2 n, 512)
  num_samples: int | None = None
  # τ: a write squeezes the old signal into [0, τ]. 'equal': τ = k/(k+1) after k writes, so that every segment
  # of the past keeps the same share of [0, 1]; each write then solves its own regression. 'log': the past is
  # on a logarithmic axis of age, so that every octave of age keeps the same share (core/time_axis.py).
  contraction: float | Literal['equal', 'log'] = 0.75
  horizon: float | None = None  # of 'log', tokens: what is older is dropped; None: 1,000,000
  scale: float | None = None  # of 'log', tokens: the octaves begin there; None: n / 4
  ridge: float = 0.5  # λ
  # What is written: the input of the layer's attention, after its pre-norm, or the residual stream before it.
  # The published code for dialogues has the first, that for language models the second.
  feed: Literal['normed', 'residual'] = 'normed'
  signal_positions: Literal['plain', 'padded'] = 'plain'  # 'padded': the published layout
  gate: bool = False  # X ⊙ sigmoid(conv(X, width 3)) before the regression
  # The sample points of the old signal. 'even': equidistant; 'sticky': where the heads read, stratified;
  # 'random': the same, drawn at random; 'edges': drawn left edges of the histogram's bins, as published.
  sampling: Sampling = 'sticky'
  histogram_bins: int = 128  # j
  density: Literal['gaussian', 'sparsemax', 'gibbs'] = 'gaussian'  # 'gibbs': a softmax over time
  # Points of its integrals; None: 4 n + 1, enough for scores that differ by some 10 over [0, 1]. Rectangular
  # cells need none.
  gibbs_grid: int | None = None
  mixture: int = 1  # K densities per head and query; 1 is the paper
  # Where a density moves. 'document': in the part of [0, 1] that the document fills, all of it except with
  # 'log'; 'axis': in [0, 1], so that with 'log' a place is the same age in every document.
  span: Literal['document', 'axis'] = 'document'
  renormalize: bool = False  # the density is conditioned on its span
  affine: bool = True  # False: moment matching from softmax scores
  sigma_floor: float | None = None  # None: half a spacing of the centres
  # The initial μ of the heads: 'spread' evenly over [0, 1] by an offset inside the sigmoid, so that each head
  # reads another part of the past, or all in the 'middle' (published).
  initial_mu: Literal['spread', 'middle'] = 'spread'
  initial_sigma: float | None = 0.1  # by an offset inside the softplus; None: no offset, σ starts near .83
  # The initial W_o. 'small': a hundredth of the usual one, since an untrained memory adds noise, which slows
  # the training of the layers below; 'zero': a model that gets the memory is at first exactly the one without
  # it; 'published': all projections and affines are N(0, .02²), and the gate has PyTorch's default, as in the
  # published GPT-2 code.
  initial_output: Literal['small', 'zero', 'published'] = 'small'
  kl_weight: float = 0.0  # of KL(N(μ, σ²) ‖ N(kl_mu, kl_sigma²)), averaged over heads and tokens
  kl_sigma: float = 0.05
  kl_mu: float | None = None  # None: without the term of the mean

  def __post_init__(self) -> None:
    for name, least in (('initial_sigma', 1e-4), ('sigma_floor', 1e-6)):
      if (value := getattr(self, name)) is not None and not least <= value <= 10:
        raise ConfigError(f'{name} = {value} must be in [{least}, 10], in units of the whole signal')
    if self.kl_weight < 0:
      raise ConfigError(f'kl_weight = {self.kl_weight} must not be negative')
    if self.kl_sigma <= 0:
      raise ConfigError(f'kl_sigma = {self.kl_sigma} must be positive, such as 0.05')
    check_range('histogram_bins', self.histogram_bins, 1, 2**20)
    if self.contraction == 'log':
      self._check_logarithmic()
    elif self.span != 'document':
      raise ConfigError(
        f"span = {self.span!r} must be 'document' with contraction = {self.contraction!r}, where it is all "
        "of [0, 1]; or use contraction = 'log'"
      )
    self.signal_spec(1)
    self.read_spec().check(self.basis_spec())

  def _check_logarithmic(self) -> None:
    if self.basis == 'rectangular':
      raise ConfigError(
        "basis = 'rectangular' must be another with contraction = 'log', because old content moves by less "
        "than a cell per write, and stays in its cell; use 'gaussian' or 'fourier'"
      )
    if self.sampling == 'edges':
      raise ConfigError("sampling = 'edges' must be 'even', 'sticky' or 'random' with contraction = 'log'")
    if self.num_samples is not None and 2 * self.num_samples < 3 * self.num_basis:
      raise ConfigError(
        f'num_samples = {self.num_samples} must be at least 1.5 times num_basis = {self.num_basis} with '
        f"contraction = 'log', because old content moves little per write; use {2 * self.num_basis}"
      )

  @property
  def traits(self) -> Traits:
    return Traits(
      learns_writes=True,
      mixes_all=True,
      draws=self.sampling in ('random', 'edges'),
      uses_residual=self.feed == 'residual',
    )

  def check(self, segment_length: int) -> None:
    spec = self.signal_spec(segment_length)
    if self.ridge < 1e-3:  # Only such a ridge may be too small for the solver.
      signal.operators(spec)
    signal_growth.check(self, spec)

  def warnings(self) -> list[str]:
    if self.sampling == 'even':
      return []
    if self.density == 'gibbs':
      return [
        f"density = 'gibbs' with sampling = '{self.sampling}': the heads read where the signal is largest, "
        "and a signal that is sampled there can grow without bound; use sampling = 'even'"
      ]
    if self.contraction != 'equal':
      return []
    return [
      f"contraction = 'equal' with sampling = '{self.sampling}': as τ approaches 1 nothing counteracts the "
      'samples, which gather in one place after many writes, and the signal can grow to a hundred times what '
      "was written; with sampling = 'even' all of the past is kept"
    ]

  def basis_spec(self) -> Basis:
    """Which functions span the signal."""
    if self.basis == 'gaussian':
      return GaussianBasis(num_basis=self.num_basis, widths=self.widths, width_unit=self.width_unit)
    if self.basis not in (others := {'rectangular': RectangularBasis, 'fourier': FourierBasis}):
      raise ConfigError(f"basis = {self.basis!r} must be 'gaussian', 'rectangular' or 'fourier'")
    for key in ('widths', 'width_unit'):
      if (value := getattr(self, key)) != getattr(type(self), key):
        raise ConfigError(
          f"{key} = {value!r} must not be set with basis = {self.basis!r}; only 'gaussian' has it"
        )
    return others[self.basis](num_basis=self.num_basis)

  def signal_spec(self, segment_length: int) -> SignalSpec:
    """What the constants of a write depend on."""
    samples = self.num_samples
    if samples is None:
      samples = max(2 * self.num_basis if self.contraction == 'log' else self.num_basis, 512)
    return SignalSpec(
      basis=self.basis_spec(),
      segment_length=segment_length,
      num_samples=samples,
      contraction=self.contraction,
      horizon=self.horizon,
      scale=self.scale,
      ridge=self.ridge,
      signal_positions=self.signal_positions,
    )

  def read_spec(self) -> ReadSpec:
    """How a head computes a density from its scores."""
    if self.density == 'gibbs':
      for key, needed in (
        ('mixture', 1),
        ('span', 'document'),
        ('renormalize', False),
        ('affine', True),
        ('kl_weight', 0),
      ):
        if (value := getattr(self, key)) != needed:
          raise ConfigError(f"{key} = {value} must be {needed} with density = 'gibbs', which has no μ and σ²")
      return GibbsRead(gibbs_grid=self.gibbs_grid)
    if self.density not in (densities := {'gaussian': GaussianDensity(), 'sparsemax': SparsemaxDensity()}):
      raise ConfigError(f"density = {self.density!r} must be 'gaussian', 'sparsemax' or 'gibbs'")
    if self.gibbs_grid is not None:
      raise ConfigError(
        f"gibbs_grid = {self.gibbs_grid} must be None with density = {self.density!r}; only 'gibbs' has it"
      )
    floor = 0.5 * self.basis_spec().spacing if self.sigma_floor is None else self.sigma_floor
    offset = 0.0 if self.initial_sigma is None else math.log(math.expm1(self.initial_sigma**2))
    return LocatedRead(
      density=densities[self.density],
      span=self.span,
      renormalize=self.renormalize,
      variance_floor=floor**2,
      softplus_offset=offset,
      initial_mu=self.initial_mu,
      affine=self.affine,
      mixture=self.mixture,
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
  sigma_floor=1e-3,
  initial_mu='middle',
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
  feed='residual',
  gate=True,
  sampling='edges',
  sigma_floor=1e-2,
  initial_mu='middle',
  initial_sigma=None,
  initial_output='published',
  kl_weight=1e-6,
  kl_mu=-1.0,  # The published code's test of the mean is inverted: it uses its sentinel as a mean.
)
"""The published GPT-2 experiment (segments of 512 tokens)."""
