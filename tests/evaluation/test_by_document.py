"""Sums by document and their paired differences; tests/evaluation/test_results.py has whole results."""

import math

import numpy as np
import pytest

from infformer_jax.evaluation.by_document import document_sums, mean_and_error
from tests.evaluation.test_results import losses


def test_the_sums_of_every_document_are_those_of_its_segments():
  table = losses([8, 6, 4, 2, 8, 5], exchanged=[9] * 6, exchanged_ok=[True] * 3 + [False] + [True] * 2)
  beyond_r = table.segment_r >= 2
  assert document_sums(table, 'memory', beyond_r) == {
    'num_tokens': [14, 8],
    'nats': [20, 13],
    'num_tokens_beyond_reach': [6, 0],
    'nats_beyond_reach': [6, 0],
  }
  exchanged = document_sums(table, 'exchanged', beyond_r)
  assert (exchanged['num_tokens'], exchanged['nats']) == ([12, 8], [27, 18])
  assert exchanged['num_tokens_beyond_reach'] == [4, 0]


def test_a_document_that_was_not_evaluated_and_a_sum_that_is_not_finite():
  table = losses([8, 6, 4, math.nan, 8, 5])
  table.document_r[table.document_r == 1] = 3
  sums = document_sums(table, 'memory', table.segment_r >= 2)
  assert sums['nats'] == [None, 0, 0, 13]
  assert sums['num_tokens'] == [14, 0, 0, 8]


def test_the_error_of_equally_long_documents_is_that_of_a_mean():
  rng = np.random.default_rng(0)
  per_token = rng.normal(size=9)
  mean, error = mean_and_error(5 * per_token, np.full(9, 5))
  assert mean == pytest.approx(per_token.mean())
  assert error == pytest.approx(per_token.std(ddof=1) / 3)


def test_the_error_of_documents_of_any_length_is_the_spread_over_samples_of_documents():
  """Against a simulation: means of many independent samples of documents."""
  rng = np.random.default_rng(0)
  tokens = rng.integers(10, 40, size=(4000, 50))
  nats = tokens * rng.normal(0.3, 0.2, size=tokens.shape)
  pairs = [mean_and_error(*sample) for sample in zip(nats, tokens, strict=True)]
  means, errors = map(np.array, zip(*pairs, strict=True))
  assert np.median(errors) == pytest.approx(means.std(), rel=0.05)


def test_one_document_has_no_error():
  assert mean_and_error(np.array([3.0]), np.array([4])) == (0.75, None)
