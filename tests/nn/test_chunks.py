"""Processing a chunk equals processing its segments one by one. tests/x64 also runs this in float64."""

import itertools

import jax
import numpy as np
import pytest

from infformer_jax.memory.registry import CONFIGS
from tests import toy

SHORT = (0, toy.LENGTH, 2 * toy.LENGTH)


def cases(quick):
  """All pairs of memory and short-term length; memories in `quick` with one length are not marked as slow."""
  product = itertools.product(enumerate(toy.MEMORIES), enumerate(SHORT))
  return [
    pytest.param(name, short, marks=() if name in quick and (i + j) % len(SHORT) == 2 else pytest.mark.slow)
    for (i, name), (j, short) in product
  ]


@pytest.mark.parametrize(('name', 'short'), cases(CONFIGS))
def test_a_chunk_equals_its_segments(name, short):
  """Hidden states, states, losses and plots, with dropout, draws, and documents that start inside chunks."""
  graphdef, params = toy.build(toy.config(toy.MEMORIES[name], short_term_length=short, dropout=0.1))
  batch, key = toy.batch(), jax.random.key(1)
  whole = toy.run(graphdef, params, batch, key)
  one_by_one = toy.run(graphdef, params, batch, key, size=1)
  assert toy.error(toy.real(whole, batch), toy.real(one_by_one, batch)) < toy.TOLERANCE
  assert np.array_equal(whole.ok_bs, one_by_one.ok_bs)


TRUNKS = {
  'sliding': {'window': 'sliding', 'clamp_length': 5, 'stop_short_term_gradient': True},
  'past': {'window': 'past', 'positions': 't5', 'normalize_qk': True},
}


@pytest.mark.parametrize('name', TRUNKS)
def test_a_chunk_of_another_trunk_equals_its_segments(name):
  graphdef, params = toy.build(toy.config(toy.MEMORIES['recent'], **TRUNKS[name]))
  outputs = [toy.run(graphdef, params, toy.batch(), size=size) for size in (toy.SEGMENTS, 1)]
  assert toy.error(*[toy.real(output, toy.batch()) for output in outputs]) < toy.TOLERANCE


GROUPED = {'num_kv_heads': 2, 'qkv_bias': True, 'attention_output_bias': True}
DRAWS = {'dropout': 0.1, 'attention_dropout': 0.2}
MOSTLY_SLOW = [
  pytest.param(name, marks=() if toy.WIDE and name in ('neighbours', 'compressive') else pytest.mark.slow)
  for name in (*CONFIGS, 'most_used')
]


@pytest.mark.parametrize('name', MOSTLY_SLOW)
def test_a_chunk_of_grouped_keys_equals_its_segments(name):
  """With dropout of the attention weights."""
  graphdef, params = toy.build(toy.config(toy.MEMORIES[name], **GROUPED, **DRAWS))
  batch, key = toy.batch(), jax.random.key(1)
  outputs = [toy.run(graphdef, params, batch, key, size=size) for size in (toy.SEGMENTS, 1)]
  assert toy.error(*[toy.real(output, batch) for output in outputs]) < toy.TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize('size', [2, 3, 4, 6])
@pytest.mark.parametrize('name', toy.MEMORIES)
def test_a_chunk_equals_smaller_chunks(name, size):
  graphdef, params = toy.build(toy.config(toy.MEMORIES[name], dropout=0.1))
  batch, key = toy.batch(), jax.random.key(1)
  whole, parts = (toy.run(graphdef, params, batch, key, size=num) for num in (toy.SEGMENTS, size))
  assert toy.error(toy.real(whole, batch), toy.real(parts, batch)) < toy.TOLERANCE


@pytest.mark.parametrize('positions', ['xl', 'rotary', 't5'])
def test_a_recent_memory_equals_a_longer_short_term_memory(positions):
  """Keys of any age and a window of consecutive tokens have the same scores."""
  length = 2 * toy.LENGTH
  settings = {'positions': positions, 'dropout': 0.1}
  short = toy.config(short_term_length=length, **settings)
  long = toy.config(toy.small('recent', length=length), short_term_length=0, **settings)
  params, batch, key = toy.build(long)[1], toy.batch(), jax.random.key(1)
  outputs = [toy.run(toy.build(config)[0], params, batch, key) for config in (short, long)]
  hidden = [output.hidden_bsld[batch.ok_bsl] for output in outputs]
  assert toy.error(*hidden) < toy.TOLERANCE
