"""What is seen of one document, and what is kept of it for the plots."""

import dataclasses
import json

import numpy as np
import pytest

from infformer_jax.data.base import Corpus, StoredSplit
from infformer_jax.data.tokenizers import Bytes
from infformer_jax.evaluation import document_record, inspection
from infformer_jax.memory.continuous import PLOT_BINS
from infformer_jax.memory.views import emptied, identity
from infformer_jax.nn import transformer
from tests import toy


def split(*lengths):
  rng = np.random.default_rng(0)
  return StoredSplit.of([rng.integers(toy.VOCABULARY, size=n) for n in lengths])


def look(memory, *lengths):
  document = document_record.longest(split(*lengths), 7 * toy.LENGTH)
  return document_record.look(toy.trained(toy.config(memory)), document, 0, segments_per_chunk=3)


@pytest.fixture(scope='module')
def stacked():
  return look(toy.MEMORIES['stacked'], 10, 23)


def test_densities_of_the_longest_document(stacked):
  names = ['layer 0, first', 'layer 1, first']
  assert list(stacked['density_shj']) == names == list(stacked['histogram_sj'])
  for density, histogram in zip(
    stacked['density_shj'].values(), stacked['histogram_sj'].values(), strict=True
  ):
    assert density.shape == (6, 4, PLOT_BINS)  # 23 tokens are six segments of four
    assert histogram.shape == (6, toy.SMALL['histogram_bins'])
    for rows in (density, histogram):  # The window of one segment has let go of the first in the third.
      assert np.isnan(rows[:2]).all()
      assert np.isfinite(rows[2:]).all()
    # A density near its start has most of its mass in [0, 1], where 1 is even.
    assert ((density[2:].mean(axis=-1) > 0.5) & (density[2:].mean(axis=-1) < 1 + 1e-5)).all()
    # Both are the same masses in other bins.
    coarse = density.mean(axis=1).reshape(6, toy.SMALL['histogram_bins'], -1).mean(-1)
    assert toy.error(coarse[2:] / toy.SMALL['histogram_bins'], histogram[2:]) < toy.TOLERANCE


def test_losses_are_those_of_the_model(stacked):
  graphdef, params = toy.build(toy.config(toy.MEMORIES['stacked']))
  document = split(10, 23).tokens(1)
  batch = toy.batch(((23,),), 6)
  tokens = np.zeros(24, np.int32)
  tokens[:23] = np.concatenate([[0], document[:-1]])
  targets = np.concatenate([document, [0]]).reshape(1, 6, toy.LENGTH)
  batch = dataclasses.replace(batch, tokens_bsl=tokens.reshape(1, 6, toy.LENGTH), targets_bsl=targets)
  model = transformer.merge(graphdef, params)
  for view, name in ((identity, 'memory'), (emptied, 'emptied')):
    hidden = toy.run(graphdef, params, batch, size=3, view=view).hidden_bsld
    expected = np.asarray(model.vocabulary.token_losses(hidden, targets)).ravel()[:23]
    assert toy.error(stacked['nll_t'][name], expected) < 10 * toy.TOLERANCE


def test_what_heads_read_is_in_the_past_that_was_written(stacked):
  for held in stacked['held_th'].values():
    assert held.shape == (23, 4)
    assert (held[:8] == -1).all()
    segment = np.arange(23)[:, None] // toy.LENGTH
    assert (held < (segment - 1) * toy.LENGTH)[8:].all()  # The window has not let go of the newest.
    assert held[8:].max() > 0


def test_shares_of_all_that_was_written_are_the_whole_memory(stacked):
  for name, share_mt in stacked['share_mt'].items():
    assert stacked['moment_m'][name].tolist() == [
      4,
      8,
      12,
      16,
    ]  # The segments four and five are in the window.
    first_of_all = 1 / toy.LENGTH  # BOS, which no token stands for
    assert share_mt[0].sum() == pytest.approx(1 - first_of_all)
    for written, share_t, even_t in zip(
      stacked['moment_m'][name], share_mt, stacked['even_share_mt'][name], strict=True
    ):
      assert (share_t[written - 1 :] == 0).all()
      assert 0.25 <= share_t.sum() < 1
      assert even_t[written - 2] == pytest.approx(0.25 * 0.25 if written > 4 else 0.25)


def test_a_density_of_the_unit_interval_has_all_its_mass_in_the_plot():
  (density,) = look(toy.MEMORIES['gibbs'], 23)['density_shj'].values()
  np.testing.assert_allclose(density[2:].mean(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize('name', ['neighbours', 'stacked_neighbours'])
def test_ages_of_what_is_retrieved(name):
  seen = look(toy.MEMORIES[name], 23)
  for layer, retrieved_a in seen['retrieved_a'].items():
    expected_a = seen['expected_a'][layer]
    # Segment by segment: heads x queries x what they found, of at most two stored segments.
    found = sum(4 * min(4, 23 - 4 * i) * min(3, 4 * min(i, 2)) for i in range(6))
    assert retrieved_a.sum() == found == pytest.approx(expected_a.sum())
    assert np.flatnonzero(retrieved_a).max() <= 11  # two segments before this one, of which the last token
    assert (retrieved_a[expected_a < 1e-9] == 0).all()
    age_th = np.arange(23)[:, None] - seen['held_th'][layer] - 1
    assert (age_th[4:] >= 1).all()
    assert (age_th[4:] <= 11).all()
    assert (seen['held_th'][layer][:4] == -1).all()


def test_models_without_a_memory_have_their_losses_alone():
  seen = look(toy.small('none'), 23)
  assert list(seen) == ['nll_t']
  assert list(seen['nll_t']) == ['memory']
  assert list(look(toy.small('recent'), 23)['nll_t']) == ['emptied', 'memory']


def test_a_document_shorter_than_the_window_is_seen_too():
  seen = look(toy.MEMORIES['continuous'], 3)
  assert np.isnan(next(iter(seen['density_shj'].values()))).all()
  assert 'share_mt' not in seen
  assert 'held_th' not in seen


def test_what_is_kept(tmp_path):
  tokenizer = Bytes()
  text = 'Größe <b> & 漢字\n' * 3
  kept = StoredSplit.of([tokenizer.encode('a'), tokenizer.encode(text)])
  corpus = Corpus(tokenizer=tokenizer, splits={'validation': kept}, fingerprint={}, note='')
  model = toy.config(toy.MEMORIES['continuous'])
  trained = toy.trained(model, vocabulary=tokenizer.vocab_size, step=5)
  inspection.inspect(trained, corpus, 'validation', tmp_path / 'inspection')
  about = json.loads((tmp_path / 'inspection' / 'about.json').read_text(encoding='utf-8'))
  assert ''.join(about['pieces']) == text
  assert (about['step'], about['document'], about['segment_length']) == (5, 1, toy.LENGTH)
  assert sorted(path.name for path in (tmp_path / 'inspection').iterdir()) == ['about.json', 'arrays.npz']
  with np.load(tmp_path / 'inspection' / 'arrays.npz') as arrays:
    assert arrays['nll_t/memory'].shape == (len(about['pieces']),)
    assert arrays['counts_t/targets'].all()
    assert arrays['basis_tn/'].shape[1] == model.memory.num_basis


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
