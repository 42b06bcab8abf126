"""The record of a continuous memory: densities, histograms, the tokens read, and the shares of tokens."""

import numpy as np
import pytest

from infformer_jax.memory.continuous import PLOT_BINS
from tests import toy
from tests.evaluation.documents import record


@pytest.fixture(scope='module')
def stacked():
  return record(toy.MEMORIES['stacked'], 10, 23).continuous


def test_densities_of_the_longest_document_are_recorded(stacked):
  assert list(stacked) == ['layer 0, first', 'layer 1, first']
  for memory in stacked.values():
    density, histogram = memory.density_shj, memory.histogram_sj
    assert density.shape == (6, 4, PLOT_BINS)  # 23 tokens fill six segments of four.
    assert histogram.shape == (6, toy.SMALL['histogram_bins'])
    for rows in (density, histogram):  # The first segment leaves the window in the third.
      assert np.isnan(rows[:2]).all()
      assert np.isfinite(rows[2:]).all()
    # The initial densities have most of their mass in [0, 1]; a uniform density is 1.
    assert ((density[2:].mean(axis=-1) > 0.5) & (density[2:].mean(axis=-1) < 1 + 1e-5)).all()
    # Both contain the same masses, in different bins.
    coarse = density.mean(axis=1).reshape(6, toy.SMALL['histogram_bins'], -1).mean(-1)
    assert toy.error(coarse[2:] / toy.SMALL['histogram_bins'], histogram[2:]) < toy.TOLERANCE


def test_heads_read_tokens_that_were_written(stacked):
  for memory in stacked.values():
    held = memory.held_th
    assert held.shape == (23, 4)
    assert (held[:8] == -1).all()
    segment = np.arange(23)[:, None] // toy.LENGTH
    assert (held < (segment - 1) * toy.LENGTH)[8:].all()  # The newest are still in the window.
    assert held[8:].max() > 0


def test_the_shares_of_all_written_tokens_sum_to_one(stacked):
  for memory in stacked.values():
    shares = memory.shares
    assert shares.moment_m.tolist() == [4, 8, 12, 16]  # Segments four and five are in the window.
    first_of_all = 1 / toy.LENGTH  # BOS, which is not a token of the text.
    assert shares.share_mt[0].sum() == pytest.approx(1 - first_of_all)
    for written, share_t, even_t in zip(shares.moment_m, shares.share_mt, shares.even_share_mt, strict=True):
      assert (share_t[written - 1 :] == 0).all()
      assert 0.25 <= share_t.sum() < 1
      assert even_t[written - 2] == pytest.approx(0.25 * 0.25 if written > 4 else 0.25)


def test_ages_are_those_of_the_tokens_in_the_memory(stacked):
  """The memory has 4 tokens at the third segment and 16 at the sixth."""
  for memory in stacked.values():
    age_se = memory.age_se
    assert age_se.shape == (6, PLOT_BINS + 1)
    assert np.isnan(age_se[:2]).all()
    assert age_se[2:, 0].tolist() == [4, 8, 12, 16]
    assert (age_se[2:, -1] == 0).all()
    assert age_se[2, PLOT_BINS // 2] == pytest.approx(2)
    assert age_se[3:, PLOT_BINS * 3 // 4] == pytest.approx(4)  # τ .75: the newest segment has a quarter.


def test_ages_follow_the_shares_of_a_sticky_memory(stacked):
  """The tokens younger than an age have all of [0, 1] beyond its time."""
  for memory in stacked.values():
    shares, age_e = memory.shares, memory.age_se[-1]
    newest_first = shares.share_mt[-1][14::-1]  # BOS and tokens 0 to 14 are written.
    time_e = np.linspace(0, 1, PLOT_BINS + 1)
    times = np.interp(np.arange(1, 16), age_e[::-1], time_e[::-1])
    np.testing.assert_allclose(1 - np.cumsum(newest_first), times, atol=1 / PLOT_BINS)
    assert np.abs(shares.share_mt[-1] - shares.even_share_mt[-1]).max() > 1e-3


@pytest.mark.slow
def test_a_logarithmic_memory_has_no_ages_before_the_document():
  memory = toy.small('continuous', contraction='log', horizon=64.0, scale=1.0)
  for each in record(memory, 23).continuous.values():
    oldest = np.nanmax(each.age_se[2:], axis=1)
    held = np.array([4, 8, 12, 16])
    assert (oldest <= held).all()
    assert (oldest > held * 0.9 - 0.2).all()  # One of 128 bins.
    share = np.isfinite(each.age_se[2:]).mean(axis=1)
    np.testing.assert_allclose(share, np.log1p(held) / np.log1p(64), atol=2 / PLOT_BINS)
    shares = each.shares  # Where the samples of each write came from is known: no token is lost.
    assert (np.diff(shares.share_mt[-1][:15]) > -1e-6).mean() > 0.5
    assert shares.share_mt[-1].sum() == pytest.approx(np.log1p(16) / np.log1p(64), abs=0.1)


def test_even_sampling_has_neither_histograms_nor_shares():
  for memory in record(toy.MEMORIES['even'], 23).continuous.values():
    assert memory.histogram_sj is None
    assert memory.shares is None
    assert (memory.held_th[8:] >= -1).all()
    assert memory.held_th.max() > 0


def test_a_density_on_the_unit_interval_has_all_of_its_mass_in_the_plot():
  (memory,) = record(toy.MEMORIES['gibbs'], 23).continuous.values()
  np.testing.assert_allclose(memory.density_shj[2:].mean(axis=-1), 1, atol=1e-5)


def test_a_document_shorter_than_the_window_is_recorded():
  for memory in record(toy.MEMORIES['continuous'], 3).continuous.values():
    assert np.isnan(memory.density_shj).all()
    assert memory.shares is None
    assert memory.held_th is None
