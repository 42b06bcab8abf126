"""The config of the continuous memory, and invalid settings."""

import dataclasses
import json
import math

import pytest

from infformer_jax.config.parsing import override
from infformer_jax.config.stored_config import from_json
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
    ({'contraction': 'log', 'basis': 'rectangular'}, "basis = 'rectangular' .*; use 'gaussian' or 'fourier'"),
    ({'contraction': 'log', 'sampling': 'edges'}, "sampling = 'edges' must be 'even', 'sticky' or 'random'"),
    ({'contraction': 'log', 'signal_positions': 'padded'}, "signal_positions = 'padded' must be 'plain'"),
    ({'contraction': 'log', 'num_basis': 64, 'num_samples': 95}, 'num_samples = 95 .*; use 128'),
    ({'horizon': 1e4}, "horizon = 10000.0 must be None with contraction = 0.75; or use 'log'"),
    ({'span': 'axis'}, "span = 'axis' must be 'document' with contraction = 0.75"),
    ({'scale': 8.0, 'contraction': 'equal'}, "scale = 8.0 must be None with contraction = 'equal'"),
    ({'contraction': 'log', 'horizon': math.inf}, 'horizon = inf must be a number of tokens'),
    ({'contraction': 'log', 'horizon': math.nan}, 'horizon = nan must be a number of tokens'),
    ({'contraction': 'log', 'scale': 1e-320}, r'scale = 1e-320 must be a number of tokens in \[0.001, '),
    ({'contraction': 'log', 'scale': math.inf}, r'scale = inf must be a number of tokens in \[0.001, '),
    (
      {'density': 'gibbs', 'span': 'axis', 'contraction': 'log'},
      "span = axis must be document with density = 'gibbs'",
    ),
  ],
)
def test_invalid_settings_are_rejected(settings, message):
  with pytest.raises(ConfigError, match=message):
    ContinuousConfig(**settings)


@pytest.mark.parametrize(
  ('texts', 'expected'),
  [
    ({'contraction': 'log'}, {'contraction': 'log', 'horizon': None, 'scale': None}),
    ({'contraction': '0.9'}, {'contraction': 0.9}),
    ({'contraction': 'equal'}, {'contraction': 'equal'}),
    ({'contraction': 'log', 'horizon': '16384', 'scale': '16'}, {'horizon': 16384.0, 'scale': 16.0}),
    ({'contraction': 'log', 'span': 'axis'}, {'span': 'axis'}),
  ],
)
def test_contractions_are_read_from_flags_and_from_stored_configs(texts, expected):
  config = override(ContinuousConfig(), list(texts.items()))
  for name, value in expected.items():
    assert getattr(config, name) == value
    assert type(getattr(config, name)) is type(value)
  assert from_json(ContinuousConfig, json.dumps(dataclasses.asdict(config))) == config


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('loge', "contraction = 'loge' must be one of equal, log or a number; did you mean 'log'?"),
    ('nan', "contraction = 'nan' must be one of equal, log or a number"),
    ('1.5', "contraction = 1.5 must be in (0, 1), such as 0.75, or 'equal', or 'log'"),
  ],
)
def test_other_contractions_are_refused_with_the_values_that_are_possible(text, message):
  with pytest.raises(ConfigError) as caught:
    override(ContinuousConfig(), [('contraction', text)])
  assert str(caught.value) == message
