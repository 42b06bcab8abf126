"""The recent memory: exactly the last tokens, as keys and values of the layer."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.errors import ConfigError
from infformer_jax.memory.recent import Recent, RecentConfig, windows
from infformer_jax.memory.views import VIEWS
from tests import toy
from tests.memory.contract import NEW_DOC, SITE, L, S, at, material, project


def test_windows_have_equal_lengths_and_equal_distances():
  x_bt = jnp.arange(12)[None]
  assert windows(x_bt, start=1, size=4, stride=3, count=3)[0].tolist() == [
    [1, 2, 3, 4],
    [4, 5, 6, 7],
    [7, 8, 9, 10],
  ]


@pytest.mark.parametrize('num', [1, 2, 3])
def test_the_slots_are_the_last_tokens_of_the_document_with_their_ages(num):
  memory = Recent(RecentConfig(length=num * L), SITE, rngs=nnx.Rngs(0))
  segments, pasts, _ = material()
  _, read = memory.scan(
    memory.init_state(len(NEW_DOC), jnp.dtype(toy.DTYPE)), segments, pasts, NEW_DOC, project
  )
  (slots,) = read.slots
  x_td = pasts.x_bld[0].reshape(1, S * L, -1)  # The first lane has one document.
  k_thk, v_thk = (a_bthk[0] for a_bthk in project(x_td))
  for s in range(S):
    stored = min(num, max(0, s + 1 - SITE.lag)) * L
    last = slice((s + 1) * L - stored, (s + 1) * L)
    assert slots.ok_bm[0, s].sum() == stored
    assert slots.ok_bm[0, s, num * L - stored :].all()
    for ours, expected in ((slots.k_bmhk, k_thk), (slots.v_bmhk, v_thk)):
      if stored:
        assert toy.error(ours[0, s, num * L - stored :], expected[last]) < toy.TOLERANCE
    newest = (SITE.lag - 1) * L + 1
    np.testing.assert_array_equal(slots.age_bm[0, s], newest + np.arange(num * L)[::-1])


def test_views_use_the_default_scan():
  """The override supports only the unmodified memory."""
  memory = Recent(RecentConfig(length=2 * L), SITE, rngs=nnx.Rngs(0))
  segments, pasts, _ = material()
  arguments = memory.init_state(len(NEW_DOC), jnp.dtype(toy.DTYPE)), segments, pasts, NEW_DOC, project
  state, read = memory.scan(*arguments, view=VIEWS['emptied'])
  assert not read.slots[0].ok_bm.any()
  assert toy.error(state, memory.scan(*arguments)[0]) < toy.TOLERANCE


def test_a_short_past_with_missing_segments_keeps_the_stored_tokens():
  memory = Recent(RecentConfig(length=2 * L), SITE, rngs=nnx.Rngs(0))
  _, pasts, _ = material()
  state = memory.init_state(len(NEW_DOC), jnp.dtype(toy.DTYPE))
  whole_b = np.array([True, False, True, False])
  state = memory.write(state, dataclasses.replace(at(pasts, 0), whole_b=whole_b))
  assert state.segments_b.tolist() == [1, 0, 1, 0]
  np.testing.assert_array_equal(state.x_bmd[0, L:], pasts.x_bld[0, 0])
  assert not state.x_bmd[1].any()


def test_a_length_that_is_not_a_multiple_of_segments_is_rejected():
  with pytest.raises(ConfigError, match=r'memory\.length = 6 must be a multiple of .* = 4; use 4 or 8'):
    toy.config(toy.small('recent', length=6))
