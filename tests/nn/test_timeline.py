"""Indices of the past and of the windows in the timeline of a layer."""

import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.nn.timeline import Timeline

L = 2


def timeline(short, lag):
  return Timeline(segment_length=L, short_term_length=short, lag=lag)


@pytest.mark.parametrize(
  ('short', 'lag', 'length', 'past', 'window'),
  [
    (2, 2, 4, [0, 1], [2, 3]),  # source='evicted'
    (4, 3, 6, [0, 1], [2, 3, 4, 5]),
    (4, 1, 4, [2, 3], [0, 1, 2, 3]),  # source='previous'
    (0, 1, 2, [0, 1], []),
    (4, 0, 4, [], [0, 1, 2, 3]),  # No memory.
    (0, 0, 0, [], []),
  ],
)
def test_the_cache_holds_the_past_and_the_window(short, lag, length, past, window):
  line = timeline(short, lag)
  places = np.arange(line.cache_length)
  assert line.cache_length == length
  assert places[line.past].tolist() == past
  assert places[line.window].tolist() == window


def test_the_pasts_of_later_segments_are_consecutive():
  line = timeline(2, 2)
  places = jnp.arange(line.cache_length + 3 * L)[None]
  assert line.pasts(places, 3)[0].tolist() == [[0, 1], [2, 3], [4, 5]]
  assert line.has_past(jnp.array([0, 1, 2, 3])).tolist() == [False, False, True, True]


def test_the_windows_of_later_segments_overlap():
  assert timeline(4, 3).windows(jnp.arange(8)[None], 3)[0].tolist() == [
    [0, 1, 2, 3],
    [2, 3, 4, 5],
    [4, 5, 6, 7],
  ]


def test_a_window_starts_with_its_document():
  ok = timeline(4, 3).in_document(jnp.array([[0, 1], [2, 5]]))
  assert ok.tolist() == [
    [[False, False, False, False], [False, False, True, True]],
    [[True, True, True, True], [True, True, True, True]],
  ]
