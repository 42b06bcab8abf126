"""Signals that would grow are refused, with sizes that do not."""

import dataclasses
import re

import numpy as np
import pytest

from infformer_jax.core import signal
from infformer_jax.errors import ConfigError
from infformer_jax.memory.continuous_config import ContinuousConfig


@pytest.mark.parametrize(
  ('length', 'settings'),
  [
    (4, {'num_basis': 64, 'scale': 1.0}),  # The newest values are further apart than the functions.
    (4, {'num_basis': 8, 'scale': 1.0}),  # Many more samples than new values.
    (2, {'num_basis': 36, 'horizon': 1000.0}),
    (4, {'num_basis': 64, 'widths': (0.25,), 'num_samples': 96, 'scale': 16.0}),
    (16, {'num_basis': 64, 'basis': 'fourier', 'horizon': 64.0, 'scale': 4.0}),
    (4, {'num_basis': 96, 'widths': (0.75, 1.0, 1.5), 'num_samples': 144, 'scale': 1.0}),
  ],
)
def test_logarithmic_signals_that_would_grow_are_refused_with_sizes_that_do_not(length, settings):
  config = ContinuousConfig(contraction='log', **settings)
  assert signal.growth(config.signal_spec(length)) > 1
  with pytest.raises(ConfigError, match=f'^num_basis = {config.num_basis} must be smaller') as caught:
    config.check(length)
  sizes = re.search(r'use num_basis = (\d+) and num_samples = (\d+)', str(caught.value))
  dataclasses.replace(config, num_basis=int(sizes[1]), num_samples=int(sizes[2])).check(length)


def test_large_logarithmic_signals_that_are_accepted_without_their_eigenvalues_do_not_grow():
  """Up to the limits of `check`."""
  for basis, length, num_basis in (('gaussian', 64, 180), ('fourier', 64, 90), ('gaussian', 16, 55)):
    settings = {'contraction': 'log', 'basis': basis, 'num_basis': num_basis, 'scale': length / 4}
    spec = ContinuousConfig(**settings).signal_spec(length)
    newest = 1 - spec.axis.time(np.ones(1), 1)[0]
    assert (0.45 if basis == 'fourier' else 0.9) < num_basis * newest < 1
    assert signal.growth(spec) < 1
