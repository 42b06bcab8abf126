"""Checks and defaults of memory/base.py; test_contract.py tests every kind of memory against the contract."""

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from infformer_jax.errors import ConfigError
from infformer_jax.memory import registry
from infformer_jax.memory.base import Memory
from tests import toy
from tests.memory.contract import (
  NEW_DOC,
  SITE,
  B,
  at,
  every_memory,
  material,
  project,
  trial,
  used,
)


def test_an_abstract_memory_cannot_be_built():
  class Incomplete(Memory):
    def filled(self, state):
      return state > 0

  for cls, missing in ((Memory, 'filled'), (Incomplete, 'answer')):
    with pytest.raises(TypeError, match=f"abstract .*'?{missing}"):
      cls(toy.small('none'), SITE, rngs=nnx.Rngs(0))


@every_memory
def test_a_step_needs_a_projection_only_if_the_traits_say_so(name):
  case, (segments, pasts, _) = trial(name), material()
  arguments = case.empty(), at(segments, 3), at(pasts, 3), NEW_DOC[:, 3]
  if {'recent', 'compressive', 'neighbours'} & {part.config.kind for part in case.memory.parts().values()}:
    with pytest.raises(ValueError, match="project = None: a memory of kind '.*' needs the layer's own W_K"):
      case.memory.step(*arguments)
    return
  state, read = toy.quickly(case.memory.step)(*arguments)
  expected, expected_read = toy.quickly(case.memory.step)(*arguments, project)
  chex.assert_trees_all_equal((state, read), (expected, expected_read))
  assert read.stats is None
  assert read.ok_b.all()


@every_memory
def test_a_state_without_a_leading_lane_axis_is_rejected(name):
  case, (segments, pasts, _) = trial(name), material()
  lanes_last = jax.tree.map(lambda leaf: jnp.moveaxis(jnp.stack([leaf] * 2), 1, -1), case.empty())
  with pytest.raises(AssertionError, match='shape prefix'):
    case.memory.step(lanes_last, at(segments, 3), at(pasts, 3), NEW_DOC[:, 3], project)


@every_memory
def test_parts_and_their_states_have_the_names_of_the_config(name):
  """The plots of a read use these names."""
  case, (segments, _, _) = trial(name), material()
  places = case.memory.parts().keys()
  assert places == case.memory.config.parts().keys() == case.memory.part_states(case.empty()).keys()
  plots = case.read(used(name), at(segments, 3)).plots
  for place, part in case.memory.parts().items():
    own = part.read(case.memory.part_states(used(name))[place], at(segments, 3), project).plots
    assert {f'{place}{plot}' for plot in own} == {key for key in plots if key.startswith(place)}


@pytest.mark.parametrize(
  ('kind', 'settings', 'message'),
  [
    ('recent', {'length': 6}, 'length = 6 must be a multiple'),
    ('compressive', {'rate': 3}, 'rate = 3 must divide a segment of 4 tokens'),
    ('neighbours', {'length': 6}, 'length = 6 must be a multiple'),
  ],
)
def test_a_memory_that_does_not_fit_its_site_is_rejected(kind, settings, message):
  with pytest.raises(ConfigError, match=message):
    registry.build(toy.small(kind, **settings), SITE, rngs=nnx.Rngs(0))


@pytest.mark.parametrize('kind', ['recent', 'compressive', 'neighbours'])
def test_a_memory_of_keys_and_values_requires_a_projection(kind):
  memory, (_, pasts, _) = registry.build(toy.small(kind), SITE, rngs=nnx.Rngs(0)), material()
  with pytest.raises(ValueError, match=f"project = None: a memory of kind '{kind}' needs the layer's own"):
    memory.prepare(memory.write(memory.init_state(B, toy.DTYPE), at(pasts, 0), None), None)


@pytest.mark.skipif(toy.WIDE, reason='the states are float64')
def test_accumulators_are_at_least_float32():
  state = trial('continuous').empty(dtype='bfloat16')
  assert state.b_bnd.dtype == state.histogram_bj.dtype == jnp.float32
