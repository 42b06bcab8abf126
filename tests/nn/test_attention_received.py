"""The attention weights that tokens receive are cached with the tokens."""

import jax.numpy as jnp
from flax import nnx

from infformer_jax.nn import attention_received
from infformer_jax.nn.attention_received import ReceivedAttention
from infformer_jax.nn.timeline import Timeline
from infformer_jax.nn.transformer import Transformer
from tests import toy

TIMELINE = Timeline(segment_length=2, short_term_length=2, lag=2)


def test_a_segment_adds_its_weights_to_the_window_and_enters_the_cache():
  opened = ReceivedAttention(sum_bt=jnp.array([[1.0, 2.0, 3.0, 4.0]])).extend(2)
  assert opened.past(TIMELINE).tolist() == [[1, 2]]
  once = opened.accumulate(jnp.array([[10.0, 20.0, 30.0, 40.0]]))
  assert once.sum_bt.tolist() == [[1, 2, 13, 24, 30, 40]]
  assert once.close(2).sum_bt.tolist() == [[13, 24, 30, 40]]
  assert once.close(2).past(TIMELINE).tolist() == [[13, 24]]


def test_received_weights_are_stored_only_for_memories_that_use_them():
  for name, kept in (('most_used', True), ('stacked_most_used', True), ('recent', False)):
    block = Transformer(toy.config(toy.MEMORIES[name]), toy.VOCABULARY, rngs=nnx.Rngs(0)).blocks[0]
    received = attention_received.init(block.memory, block.timeline, 3)
    assert (received is not None) == kept
    if received is not None:
      assert received.sum_bt.shape == (3, block.timeline.cache_length)
      assert not received.sum_bt.any()
