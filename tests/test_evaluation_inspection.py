"""What is handed to the plots of the memory."""

import numpy as np
import pytest

from infformer_jax.data.base import StoredSplit
from infformer_jax.evaluation import inspection
from tests import toy


def collect(memory, *lengths):
  rng = np.random.default_rng(0)
  split = StoredSplit.of([rng.integers(toy.VOCABULARY, size=n) for n in lengths])
  return inspection.collect_reads(
    *toy.build(toy.config(memory)), split, 0, segments_per_chunk=3, max_segments=7
  )


@pytest.fixture(scope='module')
def reads():
  return collect(toy.MEMORIES['stacked'], 10, 23)


def test_reads_of_the_longest_document(reads):
  assert list(reads.density_sj) == ['layer 0, first', 'layer 1, first'] == list(reads.histogram_sj)
  for density, histogram in zip(reads.density_sj.values(), reads.histogram_sj.values(), strict=True):
    assert density.shape == (6, inspection.DENSITY_BINS)  # 23 tokens are six segments of four
    assert histogram.shape == (6, toy.SMALL['histogram_bins'])
    for rows in (density, histogram):  # The window of one segment has let go of the first in the third.
      assert np.isnan(rows[:2]).all()
      assert np.isfinite(rows[2:]).all()
    # A density near its start has most of its mass in [0, 1], where 1 is even.
    assert ((density[2:].mean(axis=1) > 0.5) & (density[2:].mean(axis=1) < 1)).all()
    # Both are the same masses in other bins.
    coarse = density.reshape(6, toy.SMALL['histogram_bins'], -1).mean(-1) / toy.SMALL['histogram_bins']
    assert toy.error(coarse[2:], histogram[2:]) < toy.TOLERANCE


def test_a_density_of_the_unit_interval_has_all_its_mass_in_the_plot():
  reads = collect(toy.MEMORIES['gibbs'], 23)
  (density,) = reads.density_sj.values()
  np.testing.assert_allclose(density[2:].mean(axis=1), 1, atol=1e-5)


def test_memories_without_a_signal_have_no_reads():
  assert collect(toy.small('recent'), 23) is None
  assert collect(toy.small('none'), 23) is None


@pytest.mark.parametrize('name', ['even', 'edges', 'sparsemax'])
def test_basis_functions_are_normal_densities_on_a_fine_grid(name):
  config = toy.MEMORIES[name]
  times_t, basis_tn = inspection.basis_functions(config)
  assert basis_tn.shape == (len(times_t), config.num_basis)
  mass_n = basis_tn.sum(axis=0) * (times_t[1] - times_t[0])
  assert mass_n.max() == pytest.approx(1, abs=0.02)
  assert mass_n.min() > 0.49  # Half of the outermost functions lies outside [0, 1].


@pytest.mark.parametrize('contraction', [0.75, 'equal'])
def test_reconstructions_follow_the_values(contraction):
  config = toy.small('continuous', num_basis=256, num_samples=512, contraction=contraction)
  fits = inspection.reconstructions(config, segment_length=64)
  assert [len(fit['values_p']) for fit in fits] == [64, 192, 512]
  for fit in fits:
    assert (np.diff(fit['times_p']) > 0).all()
    assert fit['times_p'][-1] == 1
    newest = np.arange(len(fit['times_p'])) >= len(fit['times_p']) - 64
    held = np.interp(fit['times_p'][newest], fit['times_t'], fit['signal_t'])
    assert np.abs(held - fit['values_p'][newest]).max() < 0.1
    assert np.std(fit['values_p']) > 0.5


def test_continuous_memories_are_found_inside_stacks():
  assert inspection.continuous_configs(toy.small('none')) == {}
  assert list(inspection.continuous_configs(toy.MEMORIES['even'])) == ['']
  stack = toy.MEMORIES['stacked']
  assert inspection.continuous_configs(stack) == {'first_': stack.first}
