"""Stacked memories: their independence, and the combinations that are allowed."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.errors import ConfigError
from infformer_jax.memory import registry
from infformer_jax.memory.stacked import StackedConfig
from infformer_jax.types import Read
from tests import toy
from tests.memory.contract import NEW_DOC, SITE, S, at, material, project

RECENT, CONTINUOUS, EVEN = (toy.MEMORIES[name] for name in ('recent', 'continuous', 'even'))
NESTED = StackedConfig(
  first=StackedConfig(first=RECENT, second=CONTINUOUS),
  second=StackedConfig(first=toy.small('none'), second=EVEN),
)
PLACES = {'first_first_': RECENT, 'first_second_': CONTINUOUS, 'second_second_': EVEN}


def through(memory):
  """The state after the first segments, and the read of the last of them."""
  segments, pasts, _ = material()
  state, read = memory.init_state(len(NEW_DOC), jnp.dtype(toy.DTYPE)), Read()
  step = toy.quickly(lambda *args: memory.step(*args, project))
  for s in range(S - 1):
    state, read = step(state, at(segments, s), at(pasts, s), NEW_DOC[:, s])
  return state, read


def test_a_nested_stack_lists_its_memories_by_their_paths():
  assert NESTED.parts() == PLACES
  memory = registry.build(NESTED, SITE, rngs=nnx.Rngs(0))
  assert {place: part.config for place, part in memory.parts().items()} == PLACES
  state, read = through(memory)
  states = memory.part_states(state)
  assert states.keys() == PLACES.keys()
  assert states['first_second_'] is state.first.second
  assert read.aux.keys() == {'first_second_kl', 'second_second_kl'}
  for place, part in memory.parts().items():
    own = part.answer(part.prepare(states[place], project), at(material()[0], S - 2)).plots
    assert own.keys() == {key.removeprefix(place) for key in read.plots if key.startswith(place)}


def test_the_two_memories_are_independent():
  config = StackedConfig(first=EVEN, second=RECENT)
  memory = registry.build(config, SITE, rngs=nnx.Rngs(0))
  (state, read), (first, first_read), (second, second_read) = map(
    through, (memory, memory.first, memory.second)
  )
  chex.assert_trees_all_equal((state.first, state.second), (first, second))
  chex.assert_trees_all_equal(read.added_bld, first_read.added_bld)
  chex.assert_trees_all_equal(read.slots, second_read.slots)


def test_what_one_memory_draws_does_not_change_the_other():
  stacks = [StackedConfig(first=first, second=EVEN) for first in (RECENT, CONTINUOUS, toy.MEMORIES['gate'])]
  alone, *others = (
    nnx.to_pure_dict(nnx.state(registry.build(s, SITE, rngs=nnx.Rngs(0)).second)) for s in stacks
  )
  for other in others:
    chex.assert_trees_all_equal(other, alone)
  same = registry.build(StackedConfig(first=EVEN, second=EVEN), SITE, rngs=nnx.Rngs(0))
  assert (same.first.w_k_dhk[...] != same.second.w_k_dhk[...]).all()


def test_added_contexts_are_summed_and_losses_are_kept_separate():
  memory = registry.build(StackedConfig(first=EVEN, second=CONTINUOUS), SITE, rngs=nnx.Rngs(0))
  read, *reads = (through(each)[1] for each in (memory, memory.first, memory.second))
  assert toy.error(read.added_bld, sum(each.added_bld for each in reads)) < toy.TOLERANCE
  assert read.aux.keys() == {'first_kl', 'second_kl'} == memory.aux_weights().keys()


def test_the_two_memories_draw_different_random_numbers():
  """Equal memories with equal parameters that differ only in their random keys."""
  random = toy.MEMORIES['random']
  memory = registry.build(StackedConfig(first=random, second=random), SITE, rngs=nnx.Rngs(0))
  nnx.update(memory.second, nnx.state(memory.first))
  _, pasts, keys_bs = material()
  whole = dataclasses.replace(at(pasts, 0), whole_b=np.ones(len(NEW_DOC), bool))
  state = memory.init_state(len(NEW_DOC), jnp.dtype(toy.DTYPE))
  for s in range(2):
    state = memory.write(state, whole, key_b=keys_bs[:, s])
  assert np.abs(state.first.b_bnd - state.second.b_bnd).max() > 1e-4
  same = memory.write(memory.init_state(len(NEW_DOC), jnp.dtype(toy.DTYPE)), whole)
  chex.assert_trees_all_equal(*[jax.tree.leaves(each) for each in (same.first, same.second)])


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({}, "first.kind = 'none' and second.kind = 'none' leave nothing to stack"),
    (
      {'source': 'previous', 'first': toy.small('neighbours'), 'second': toy.small('neighbours')},
      "first.kind = 'neighbours' and second.kind = 'neighbours': both memories are gated",
    ),
    ({'first': dataclasses.replace(EVEN, layers=(0,))}, r'first.layers = \(0,\) must be None'),
    (
      {'first': EVEN, 'second': toy.small('recent', source='previous')},
      "second.source = 'previous' must be 'evicted', the source of the stack",
    ),
    ({'first': toy.small('recent', length=6)}, r'first\.length = 6 must be a multiple'),
    (
      {'first': StackedConfig(first=toy.small('recent', length=6))},
      r'first\.first\.length = 6 must be a multiple',
    ),
  ],
)
def test_invalid_stacks_are_rejected(settings, message):
  with pytest.raises(ConfigError, match=message):
    StackedConfig(**settings).check(toy.LENGTH)
