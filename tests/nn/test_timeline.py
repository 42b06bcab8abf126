"""The geometry of a layer's past, as drawn."""

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
    (2, 2, 4, [0, 1], [2, 3]),  # source 'evicted'
    (4, 3, 6, [0, 1], [2, 3, 4, 5]),
    (4, 1, 4, [2, 3], [0, 1, 2, 3]),  # source 'previous'
    (0, 1, 2, [0, 1], []),
    (4, 0, 4, [], [0, 1, 2, 3]),  # no memory
    (0, 0, 0, [], []),
  ],
)
def test_the_cache_holds_the_past_and_the_window(short, lag, length, past, window):
  of = timeline(short, lag)
  places = np.arange(of.cache_length)
  assert of.cache_length == length
  assert places[of.past].tolist() == past
  assert places[of.window].tolist() == window


def test_the_pasts_of_later_segments_follow():
  of = timeline(2, 2)
  places = jnp.arange(of.cache_length + 3 * L)[None]
  assert of.pasts(places, 3)[0].tolist() == [[0, 1], [2, 3], [4, 5]]
  assert of.has_past(jnp.array([0, 1, 2, 3])).tolist() == [False, False, True, True]


def test_the_windows_of_later_segments_overlap():
  assert timeline(4, 3).windows(jnp.arange(8)[None], 3)[0].tolist() == [
    [0, 1, 2, 3],
    [2, 3, 4, 5],
    [4, 5, 6, 7],
  ]


def test_a_window_begins_with_its_document():
  ok = timeline(4, 3).in_document(jnp.array([[0, 1], [2, 5]]))
  assert ok.tolist() == [
    [[False, False, False, False], [False, False, True, True]],
    [[True, True, True, True], [True, True, True, True]],
  ]
