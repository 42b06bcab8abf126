"""Rotary positions, with the frequencies of published models."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import rotary
from infformer_jax.core.rotary import RotaryScaling
from infformer_jax.errors import ConfigError
from tests import toy


def test_scaled_frequencies_equal_the_published_rule_of_llama_3():
  """By wavelength, frequency by frequency, with the values of Llama 3.1."""
  scaling = RotaryScaling(factor=8.0)
  scaled, plain = rotary.frequencies(128, 5e5, scaling), rotary.frequencies(128, 5e5)
  kinds = set()
  for i, (now, omega) in enumerate(zip(scaled, plain, strict=True)):
    assert omega == pytest.approx(5e5 ** (-2 * i / 128), rel=1e-12)
    wavelength = 2 * math.pi / omega
    if wavelength < 8192 / 4:
      kind, expected = 'kept', omega
    elif wavelength > 8192:
      kind, expected = 'divided', omega / 8
    else:
      smooth = (8192 / wavelength - 1) / (4 - 1)
      kind, expected = 'mixed', (1 - smooth) * omega / 8 + smooth * omega
    kinds.add(kind)
    assert now == pytest.approx(expected, rel=1e-12)
  assert kinds == {'kept', 'mixed', 'divided'}


def test_a_rotation_multiplies_complex_numbers_by_units():
  """The halves of a head are real and imaginary parts."""
  rng, omega = np.random.default_rng(0), rotary.frequencies(6, 100.0)
  x, position = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 3)) * 10
  turned = (x[..., :3] + 1j * x[..., 3:]) * np.exp(1j * position[..., None, None] * omega)
  actual = rotary.rotated(jnp.asarray(x, toy.DTYPE), jnp.asarray(position, toy.DTYPE), omega)
  assert toy.error(actual, np.concatenate([turned.real, turned.imag], axis=-1)) < toy.TOLERANCE


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ({'factor': 0.0}, 'factor = 0.0 must be positive'),
    (
      {'factor': 8.0, 'high_freq_factor': 1.0},
      'high_freq_factor = 1.0 must be larger than low_freq_factor = 1.0',
    ),
    (
      {'factor': 8.0, 'original_max_position_embeddings': 0},
      'original_max_position_embeddings = 0 must be in',
    ),
  ],
)
def test_invalid_scalings_are_rejected(values, message):
  with pytest.raises(ConfigError) as caught:
    RotaryScaling(**values)
  assert message in str(caught.value)
