"""A token changes the rows that are active, and no others."""

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.nn import append_token, open_segment, transformer
from tests import toy


def test_rows_that_are_not_active_do_not_change():
  """What is stored for later tokens is arbitrary."""
  config = toy.config(toy.MEMORIES['stacked_most_used'], num_layers=1)
  graphdef, params = toy.build(config)

  @toy.quickly
  def steps(params, token_tb, active_tb):
    model = transformer.merge(graphdef, params)
    opened = open_segment.open_segment(model, model.init_state(2), np.ones(2, bool))

    def step(tokens, now):
      tokens = append_token.append(model, opened.prepared, tokens, *now)
      return tokens, tokens

    return jax.lax.scan(step, opened.tokens, (token_tb, active_tb))[1]

  active_tb = np.array([[True, True], [True, False], [True, True]])
  tokens = steps(params, np.array([[3, 4], [5, 6], [7, 8]]), active_tb)
  assert tokens.count_b.tolist() == [[1, 1], [2, 1], [3, 2]]

  def written(tokens, count):  # Of the second row.
    (block,), past = tokens.blocks, config.short_term_length
    keys_values = [x_bw[1, : past + count] for x_bw in block.kv.by_row(2)]
    kept = block.stats, block.received, tokens.hidden_bd, tokens.finite_bi
    return keys_values, block.x_bld[1, :count], jax.tree.map(lambda leaf: leaf[1], kept)

  first, paused, last = (jax.tree.map(lambda leaf, t=t: leaf[t], tokens) for t in range(3))
  same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), written(first, 1), written(paused, 1))
  assert all(jax.tree.leaves(same))
  assert toy.error(paused.hidden_bd[0], first.hidden_bd[0]) > 0.01
  assert toy.error(last.hidden_bd[1], first.hidden_bd[1]) > 0.01
