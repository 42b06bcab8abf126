"""The record of one document: its losses, and a record of every memory whose kind has a recorder."""

import dataclasses

import numpy as np
import pytest

from infformer_jax.evaluation import document_record
from infformer_jax.memory.views import emptied, identity
from infformer_jax.nn import transformer
from tests import toy
from tests.evaluation.documents import record, split


@pytest.fixture(scope='module')
def stacked():
  return record(toy.MEMORIES['stacked'], 10, 23)


def test_recorded_losses_equal_those_of_the_model(stacked):
  graphdef, params = toy.build(toy.config(toy.MEMORIES['stacked']))
  document = split(10, 23).tokens(1)
  batch = toy.batch(((23,),), 6)
  tokens = np.zeros(24, np.int32)
  tokens[:23] = np.concatenate([[0], document[:-1]])
  targets = np.concatenate([document, [0]]).reshape(1, 6, toy.LENGTH)
  batch = dataclasses.replace(batch, tokens_bsl=tokens.reshape(1, 6, toy.LENGTH), targets_bsl=targets)
  model = transformer.merge(graphdef, params)
  for view, nll_t in ((identity, stacked.nll_t), (emptied, stacked.emptied_nll_t)):
    hidden = toy.run(graphdef, params, batch, size=3, view=view).hidden_bsld
    expected = np.asarray(model.vocabulary.token_losses(hidden, targets)).ravel()[:23]
    assert toy.error(nll_t, expected) < 10 * toy.TOLERANCE


def test_every_token_of_a_text_is_counted(stacked):
  assert stacked.counts_t.tolist() == [True] * 23


def test_the_record_of_a_model_without_memory_has_only_losses():
  alone = record(toy.small('none'), 23)
  assert alone.emptied_nll_t is None
  assert (alone.continuous, alone.neighbours, alone.held_th) == ({}, {}, {})


def test_the_record_of_a_memory_without_recorder_has_only_losses():
  recent = record(toy.small('recent'), 23)
  assert recent.nll_t.shape == recent.emptied_nll_t.shape == (23,)
  assert np.abs(recent.nll_t - recent.emptied_nll_t).max() > 0
  assert (recent.continuous, recent.neighbours) == ({}, {})


def test_the_longest_document_is_cut():
  document = document_record.longest(split(10, 30, 20), 24)
  assert (document.index, document.lengths.tolist()) == (1, [24])
  np.testing.assert_array_equal(document.tokens(0), split(10, 30, 20).tokens(1)[:24])
  np.testing.assert_array_equal(document.tokens(0, 4, 8), split(10, 30, 20).tokens(1)[4:8])
