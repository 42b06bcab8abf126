"""The config of the continuous memory, and invalid settings."""

import pytest

from infformer_jax.core.basis_families import FourierBasis, GaussianBasis, RectangularBasis
from infformer_jax.core.density import GaussianDensity, SparsemaxDensity
from infformer_jax.core.gibbs import GibbsRead
from infformer_jax.core.located import LocatedRead
from infformer_jax.errors import ConfigError
from infformer_jax.memory.continuous_config import PUBLISHED_GPT2, ContinuousConfig


def test_names_are_converted_to_the_classes_of_core():
  spec = PUBLISHED_GPT2.signal_spec(512)
  assert spec.basis == GaussianBasis(num_basis=512, widths=(0.005, 0.01), width_unit='absolute')
  assert spec.signal_positions == 'padded'
  assert ContinuousConfig(basis='rectangular').basis_spec() == RectangularBasis(num_basis=512)
  assert ContinuousConfig(basis='fourier', num_basis=64).basis_spec() == FourierBasis(num_basis=64)
  for name, density in (('gaussian', GaussianDensity()), ('sparsemax', SparsemaxDensity())):
    read = ContinuousConfig(density=name).read_spec()
    assert isinstance(read, LocatedRead)
    assert read.density == density
  assert ContinuousConfig(density='gibbs', gibbs_grid=9).read_spec() == GibbsRead(gibbs_grid=9)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'basis': 'splines'}, "basis = 'splines' must be 'gaussian', 'rectangular' or 'fourier'"),
    ({'basis': 'fourier', 'widths': (0.5,)}, "widths = .*only 'gaussian'"),
    ({'basis': 'rectangular', 'width_unit': 'absolute'}, "width_unit = 'absolute' .*only 'gaussian'"),
    ({'basis': 'fourier', 'renormalize': True}, "renormalize = True must be False with basis = 'fourier'"),
    ({'basis': 'fourier', 'affine': False}, "affine = False must be True with basis = 'fourier'"),
    ({'density': 'cauchy'}, "density = 'cauchy' must be 'gaussian', 'sparsemax' or 'gibbs'"),
    ({'gibbs_grid': 9}, "gibbs_grid = 9 must be None with density = 'gaussian'"),
    ({'density': 'gibbs', 'gibbs_grid': 1}, r'gibbs_grid = 1 must be in \[2, '),
    (
      {'density': 'gibbs', 'basis': 'rectangular', 'gibbs_grid': 9},
      "gibbs_grid = 9 must be None with basis = 'rectangular'",
    ),
    ({'density': 'gibbs', 'mixture': 2}, 'mixture = 2'),
    ({'density': 'gibbs', 'renormalize': True}, 'renormalize = True must be False'),
    ({'density': 'gibbs', 'kl_weight': 0.1}, 'kl_weight = 0.1 must be 0'),
    ({'mixture': 0}, r'mixture = 0 must be in \[1, '),
    ({'mixture': 2, 'affine': False}, 'mixture = 2 must be 1 with affine = False'),
    ({'sigma_floor': 0.0}, 'sigma_floor = 0.0'),
  ],
)
def test_invalid_settings_are_rejected(settings, message):
  with pytest.raises(ConfigError, match=message):
    ContinuousConfig(**settings)
