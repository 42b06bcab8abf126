"""The measured drift makes a window exact where the inputs of a layer depend on nothing but the position."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.nn import position_drift, transformer
from tests import toy

L = toy.LENGTH
SHORT = 2 * L


def with_drift(params, drift):
  blocks = {
    i: block | ({'position_drift_td': drift[i]} if i in drift else {})
    for i, block in params['blocks'].items()
  }
  return params | {'blocks': blocks}


def test_with_the_drift_a_moved_window_of_equal_tokens_is_the_same_window():
  """Every segment that has M tokens before it then gives the same hidden states."""
  config = toy.config(positions='learned', short_term_length=SHORT, num_layers=3, max_positions=SHORT + 2 * L)
  graphdef, params = toy.build(config, spread=0.2)
  texts_bt = np.full((2, SHORT + L), 5, np.int32)
  drift = toy.quickly(lambda: position_drift.measure(transformer.merge(graphdef, params), texts_bt))()
  assert sorted(drift) == [1, 2]
  assert all(drift_td.shape == (SHORT + 2 * L, 16) for drift_td in drift.values())
  batch = toy.batch([(6 * L,)], 6)
  batch.tokens_bsl[:] = 5

  def spread(params):
    hidden_sld = toy.run(graphdef, params, batch, size=3).hidden_bsld[0]
    return toy.error(hidden_sld[3:], jnp.broadcast_to(hidden_sld[2], (3, L, 16)))

  assert spread(with_drift(params, drift)) < toy.TOLERANCE
  zeros = jax.tree.map(jnp.zeros_like, drift)
  assert spread(with_drift(params, zeros)) > 0.01


def test_texts_of_another_length_are_refused():
  graphdef, params = toy.build(toy.config(positions='learned'))
  with pytest.raises(ValueError, match='texts of 4 tokens must have 8'):
    position_drift.measure(transformer.merge(graphdef, params), np.zeros((1, L), np.int32))
