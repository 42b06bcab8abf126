"""Records of the basis of a continuous memory and of its reconstruction of a signal."""

import numpy as np
import pytest

from infformer_jax.evaluation import signal_record
from tests import toy


@pytest.mark.parametrize('name', ['even', 'edges', 'sparsemax'])
def test_basis_functions_are_normal_densities_on_a_fine_grid(name):
  config = toy.MEMORIES[name]
  record = signal_record.record(config, toy.LENGTH)
  times_t, basis_tn = record.times_t, record.basis_tn.astype(float)
  assert basis_tn.shape == (len(times_t), config.num_basis)
  mass_n = basis_tn.sum(axis=0) * (times_t[1] - times_t[0])
  assert mass_n.max() == pytest.approx(1, abs=0.02)
  assert mass_n.min() > 0.49  # Half of the mass of the outermost functions lies outside [0, 1].


@pytest.mark.parametrize('contraction', [0.75, 'equal'])
def test_reconstructions_are_close_to_the_values(contraction):
  config = toy.small('continuous', num_basis=256, num_samples=512, contraction=contraction)
  record = signal_record.record(config, segment_length=64)
  assert [each.num_writes for each in record.reconstructions] == [1, 3, 8]
  for each in record.reconstructions:
    assert len(each.values_p) == len(each.times_p) == 64 * each.num_writes
    assert (np.diff(each.times_p) > 0).all()
    assert each.times_p[-1] == 1
    newest = np.arange(len(each.times_p)) >= len(each.times_p) - 64
    held = np.interp(each.times_p[newest], record.times_t, each.signal_t)
    assert np.abs(held - each.values_p[newest]).max() < 0.1
    assert np.std(each.values_p) > 0.5
