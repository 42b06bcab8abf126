"""Learned positions in a window that moves: the first layer sees what reading the window again would give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.nn import transformer, window
from tests import toy

L = toy.LENGTH
SHORT = 2 * L
SEGMENTS = 6


def models(**settings):
  """A model with a window, and one with segments of M + l tokens, each (graphdef, parameters)."""
  both = [
    toy.config(positions='learned', short_term_length=short, segment_length=length, **settings)
    for short, length in ((SHORT, L), (0, SHORT + L))
  ]
  (moving, params), (whole, same) = (toy.build(config, spread=0.2) for config in both)
  blocks = {
    i: {name: leaf for name, leaf in block.items() if name != 'position_drift_td'}
    for i, block in params['blocks'].items()
  }
  assert jax.tree.map(jnp.shape, params | {'blocks': blocks}) == jax.tree.map(jnp.shape, same)
  return (moving, params), (whole, params | {'blocks': blocks})


def read_again(tokens_t):
  """For every segment, the tokens that it sees as a document of one segment of M + l tokens."""
  starts = [max(0, i * L - SHORT) for i in range(SEGMENTS)]
  batch = toy.batch([((i + 1) * L - start,) for i, start in enumerate(starts)], 1, SHORT + L)
  for i, start in enumerate(starts):
    batch.tokens_bsl[i][batch.ok_bsl[i]] = tokens_t[start : (i + 1) * L]
  own_b = np.minimum(np.arange(SEGMENTS) * L, SHORT)
  return batch, own_b[:, None] + np.arange(L)


@pytest.mark.parametrize('size', [1, SEGMENTS])
def test_a_layer_equals_one_that_reads_the_window_again(size):
  """Also in its gradient by the table, for tokens of this chunk and of earlier ones."""
  moving, whole = models(num_layers=1)
  batch = toy.batch([(SEGMENTS * L,)], SEGMENTS)
  again, own_bl = read_again(batch.tokens_bsl.ravel())
  weights_bld = np.random.default_rng(0).normal(size=(SEGMENTS, L, 16))

  def moved(graphdef, params):
    return toy.stream(graphdef, params, batch, size=size).hidden_bsld[0]

  def expected(graphdef, params):
    return toy.stream(graphdef, params, again, size=1).hidden_bsld[jnp.arange(SEGMENTS)[:, None], 0, own_bl]

  def values_and_gradient(hidden, graphdef, params):
    def loss(table_td):
      hidden_bld = hidden(graphdef, params | {'position_embedding': {'embedding': table_td}})
      return (hidden_bld * weights_bld).sum(), hidden_bld

    return toy.quickly(jax.grad(loss, has_aux=True))(params['position_embedding']['embedding'])

  actual = values_and_gradient(moved, *moving)
  assert toy.error(actual, values_and_gradient(expected, *whole)) < toy.TOLERANCE


def test_the_start_of_a_document_is_read_exactly_by_all_layers():
  """The first M + l tokens."""
  moving, whole = models()
  batch = toy.batch([(SEGMENTS * L,)], SEGMENTS)
  again, _ = read_again(batch.tokens_bsl.ravel())
  expected_td = toy.run(*whole, again, size=1).hidden_bsld[SHORT // L, 0]
  hidden_td = toy.run(*moving, batch, size=2).hidden_bsld.reshape(-1, 16)
  assert toy.error(hidden_td[: SHORT + L], expected_td) < toy.TOLERANCE


def test_nothing_of_a_stopped_window_reaches_the_table():
  """Every row gets the gradient of the tokens that are read there."""
  config = toy.config(positions='learned', num_layers=1, stop_short_term_gradient=True)
  graphdef, params = toy.build(config, spread=0.2)
  batch = toy.batch([(3 * L,)], 3)

  def last_segment(table_td):
    model = transformer.merge(graphdef, params | {'position_embedding': {'embedding': table_td}})
    return model(batch, model.init_state(1)).hidden_bsld[0, -1].sum(axis=0) @ jnp.arange(16.0)

  gradient_td = toy.quickly(jax.grad(last_segment))(params['position_embedding']['embedding'])
  assert (np.abs(gradient_td).max(-1) > 0).tolist() == L * [False] + L * [True]


def test_the_rows_of_segments_are_the_drawn_ones():
  config = toy.config(positions='learned', short_term_length=SHORT)
  since_b = jnp.array([-1, 0, 1, 2, 3, 2**31 - 1])
  assert window.rows(config, since_b, np.array([3])).tolist() == [[3], [3], [7], [11], [11], [11]]
  rows = [config.num_positions for config in (config, toy.config(positions='learned', short_term_length=0))]
  assert rows == [SHORT + L, L]
