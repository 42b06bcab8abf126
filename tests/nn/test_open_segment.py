"""Decoding token by token equals the forward pass over a chunk, for every row."""

import dataclasses

import jax
import numpy as np
import pytest

from infformer_jax.memory.stacked import StackedConfig
from infformer_jax.nn import append_token, open_segment, transformer
from tests import toy

TWO_KINDS = StackedConfig(first=toy.small('compressive'), second=toy.small('neighbours', source='evicted'))
CASES = {
  'grouped': {'num_kv_heads': 2, 'qkv_bias': True, 'attention_output_bias': True, 'memory': TWO_KINDS},
  'no_dropout': {'dropout': 0.5, 'attention_dropout': 0.5, 'positions': 'rotary', 'short_term_length': 0},
}


@pytest.mark.parametrize('name', CASES)
def test_decoding_token_by_token_equals_the_chunk(name):
  """The second row pauses at every third step and is one segment shorter."""
  graphdef, params = toy.build(toy.config(**CASES[name]))
  count, size = 24, np.array([24, 16])
  batch = toy.batch(documents=((24,), (16,)), segments=6)
  active_tb = np.stack([np.ones(count, bool), np.arange(count) % 3 > 0], axis=1)
  place_tb = np.minimum(np.cumsum(active_tb, axis=0) - 1, size - 1).clip(0)
  tokens_tb = batch.tokens_bsl.reshape(2, count)[np.arange(2), place_tb]

  @toy.quickly
  def open_logits(params):
    model = transformer.merge(graphdef, params)

    def step(opened, now):
      full_b = opened.tokens.count_b == toy.LENGTH
      opened = jax.lax.cond(full_b.any(), lambda: open_segment.renew(model, opened), lambda: opened)
      tokens = append_token.append(model, opened.prepared, opened.tokens, *now)
      logits_bv = model.vocabulary.logits(tokens.hidden_bd)
      return dataclasses.replace(opened, tokens=tokens), logits_bv

    opened = open_segment.open_segment(model, model.init_state(2), np.ones(2, bool))
    return jax.lax.scan(step, opened, (tokens_tb, active_tb))[1]

  hidden_btd = toy.run(graphdef, params, batch, size=3).hidden_bsld.reshape(2, count, -1)
  expected_btv = transformer.merge(graphdef, params).vocabulary.logits(hidden_btd)
  logits_tbv = open_logits(params)
  for row, active_t in enumerate(active_tb.T):
    assert active_t.sum() == size[row]
    assert toy.error(logits_tbv[active_t, row], expected_btv[row, : size[row]]) < toy.TOLERANCE
