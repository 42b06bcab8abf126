"""The controls: reading an empty memory, or the memory of another lane."""

import dataclasses

import jax
import numpy as np
import pytest

from infformer_jax.core.pytree import pytree
from infformer_jax.memory.none import NothingConfig
from infformer_jax.memory.views import VIEWS, emptied, exchanged
from infformer_jax.nn import transformer
from tests import toy


@pytree
class Written:
  """A state with one number per lane."""

  number_b: np.ndarray


class Numbers:
  """The part of a memory's interface that views use."""

  def filled(self, state):
    return state.number_b > 0

  def reset(self, state, new_doc_b):
    return Written(number_b=np.where(new_doc_b, 0, state.number_b))


@pytest.mark.parametrize(
  ('numbers', 'expected', 'ok'),
  [
    ([1, 2, 3, 4], [4, 1, 2, 3], [1, 1, 1, 1]),
    ([0, 2, 0, 4, 5], [0, 5, 0, 2, 4], [1, 1, 1, 1, 1]),
    ([0, 2, 0], [0, 2, 0], [1, 0, 1]),  # No other filled lane: no control for this one.
    ([0, 0], [0, 0], [1, 1]),
    ([7], [7], [0]),
  ],
)
def test_exchanged_rolls_the_filled_lanes(numbers, expected, ok):
  state, ok_b = jax.jit(lambda state: exchanged(Numbers(), state))(Written(number_b=np.array(numbers)))
  assert np.array_equal(state.number_b, expected)
  assert np.array_equal(ok_b, np.array(ok, bool))


def test_emptied_empties_every_lane():
  state, ok_b = emptied(Numbers(), Written(number_b=np.array([0, 2, 3])))
  assert np.array_equal(state.number_b, [0, 0, 0])
  assert ok_b.all()


@pytest.mark.parametrize(
  'name',
  [
    *('recent', 'continuous', 'most_used'),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ('neighbours_evicted', 'stacked')),
  ],
)
def test_an_emptied_memory_equals_one_without_writes(name):
  """The view, and the memory before its first write, both equal the model without the memory."""
  config = toy.config(toy.MEMORIES[name])
  graphdef, params = toy.build(config)
  without = toy.build(dataclasses.replace(config, memory=NothingConfig()))[0]
  bare = {
    i: {part: leaf for part, leaf in block.items() if part != 'memory'}
    for i, block in params['blocks'].items()
  }
  batch = toy.batch()
  expected = toy.run(without, params | {'blocks': bare}, batch)
  viewed, itself = (toy.run(graphdef, params, batch, view=VIEWS[view]) for view in ('emptied', 'memory'))
  ok_bsl, lag = np.asarray(batch.ok_bsl), config.memory.lag(toy.LENGTH, config.short_term_length)
  before_bsl = ok_bsl & (batch.segment_bs < lag)[..., None]
  assert toy.error(viewed.hidden_bsld[ok_bsl], expected.hidden_bsld[ok_bsl]) < toy.TOLERANCE
  assert toy.error(itself.hidden_bsld[before_bsl], expected.hidden_bsld[before_bsl]) < toy.TOLERANCE
  after_bsl = ok_bsl & ~before_bsl
  assert np.abs(itself.hidden_bsld - expected.hidden_bsld)[after_bsl].max(axis=-1).min() > 1e-6
  for block, merged in zip(viewed.state.blocks, transformer.merge(graphdef, params).blocks, strict=True):
    assert np.array_equal(
      merged.memory.filled(block.memory), [True, True, False, False]
    )  # It is still written.


@pytest.mark.parametrize(
  'name',
  ['continuous', 'recent', 'most_used', pytest.param('neighbours_evicted', marks=pytest.mark.slow)],
)
def test_an_exchanged_memory_is_that_of_the_other_lane(name):
  """Equal lanes exchange equal memories; two different lanes read each other's; one lane has no control."""
  graphdef, params = toy.build(toy.config(toy.MEMORIES[name]))
  batch = toy.batch(documents=((48,), (48,), (), ()))
  twins = jax.tree.map(lambda leaf: leaf[[0, 0, 2, 3]], batch)
  alone = jax.tree.map(lambda leaf: leaf[[0, 2, 2, 3]], batch)
  plain, same, other, single = (
    toy.run(graphdef, params, each, view=VIEWS[view])
    for each, view in [(batch, 'memory'), (twins, 'exchanged'), (batch, 'exchanged'), (alone, 'exchanged')]
  )
  first = [output.hidden_bsld[0] for output in (plain, same, other)]
  assert toy.error(first[1], first[0]) < toy.TOLERANCE
  lag = 2
  assert toy.error(first[2][:lag], first[0][:lag]) < toy.TOLERANCE
  assert (np.abs(first[2] - first[0]).max(axis=-1)[lag:] > 1e-6).all()
  assert same.ok_bs.all()
  assert other.ok_bs.all()
  assert np.array_equal(single.ok_bs[0], np.arange(toy.SEGMENTS) < lag)
  assert single.ok_bs[1:].all()
