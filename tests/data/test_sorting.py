"""The sorting task."""

import collections

import numpy as np
import pytest

from infformer_jax.data.load import load_corpus
from infformer_jax.data.sorting import SortingConfig
from infformer_jax.errors import ConfigError
from tests.data.tasks import SORTING, corpus


def test_the_answer_sorts_the_symbols_by_frequency(tmp_path):
  split = corpus(SORTING, tmp_path).split('train')
  for index in range(50):
    tokens = split.tokens(index)
    sequence, mark, answer = tokens[:300], tokens[300], tokens[301:]
    counts = collections.Counter(sequence.tolist())
    assert mark == 6
    occurred_first = sequence.tolist().index
    assert answer.tolist() == sorted(counts, key=lambda symbol: (-counts[symbol], occurred_first(symbol)))
    np.testing.assert_array_equal(split.group(index, 0, 307), [-1] * 301 + [0] * 6)


@pytest.mark.parametrize('weights', ['integers', 'exponential'])
def test_a_sequence_moves_from_one_distribution_to_another(weights):
  config = SortingConfig(length=200_000, num_symbols=5, weights=weights)
  tokens = load_corpus(config, None).split('train').tokens(0)
  shares = [np.bincount(part, minlength=5) / len(part) for part in np.split(tokens[:200_000], 20)]
  first, last, middle = shares[0], shares[-1], np.mean(shares[9:11], axis=0)
  assert np.abs(first - last).max() > 0.05
  np.testing.assert_allclose(middle, (first + last) / 2, atol=0.01)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'length': 1}, r'length = 1 must be in \[2, '),
    ({'num_symbols': 1}, r'num_symbols = 1 must be in \[2, 10,000\]'),
    ({'num_train': 0}, 'num_train = 0 must be in'),
  ],
)
def test_invalid_settings_are_rejected(settings, message):
  with pytest.raises(ConfigError, match=message):
    SortingConfig(**settings)
