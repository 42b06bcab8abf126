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


@pytest.mark.parametrize(
  ('contraction', 'writes', 'oldest', 'middle'),
  [
    (0.75, 64, 64 * 16, 16 * (2 + (0.5625 - 0.5) / (0.5625 - 0.421875))),
    ('equal', 64, 64 * 16, 32 * 16),
    ('log', None, 1000, 1001**0.5 - 1),
  ],
)
def test_ages_are_those_of_the_time_axis(contraction, writes, oldest, middle):
  log = {'horizon': 1000.0, 'scale': 1.0} if contraction == 'log' else {}
  record = signal_record.record(toy.small('continuous', contraction=contraction, **log), 16)
  assert record.age_writes == writes
  assert record.age_t[0] == pytest.approx(oldest)
  assert record.age_t[-1] == 0
  assert np.interp(0.5, record.times_t, record.age_t) == pytest.approx(middle, rel=1e-3)


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
