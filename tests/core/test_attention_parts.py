"""Masks of the windows."""

import numpy as np
import pytest

from infformer_jax.core.attention_parts import seen

DRAWN = {
  'block': [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
  'sliding': [[0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]],
  'past': [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0]],
}


def mask(window, length, width):
  """The mask over `width` consecutive tokens for the queries of the last `length` of them."""
  distance = (width - length) + np.arange(length)[:, None] - np.arange(width)
  return seen(window, distance, width - length)


@pytest.mark.parametrize('window', DRAWN)
def test_windows_equal_the_drawn_masks(window):
  assert np.array_equal(mask(window, 3, 5), DRAWN[window])


@pytest.mark.parametrize(
  ('cached', 'length', 'most'), [(4, 4, 4), (3, 2, 6), (8, 4, 8), (0, 5, 3), (2, 6, 4)]
)
def test_the_sliding_window_equals_same_length_of_transformer_xl(cached, length, most):
  """The mask of Transformer-XL's code when its memory holds `cached` of at most `most` tokens."""
  ones = np.ones((length, cached + length), bool)
  too_many = cached + length - most
  shift = length - too_many if too_many > 0 else length
  published = ~(np.triu(ones, 1 + cached) | np.tril(ones, -shift))
  assert np.array_equal(mask('sliding', length, most + length)[:, most - cached :], published)
