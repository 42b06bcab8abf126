"""The memory of kind 'none', which stores nothing and returns empty reads."""

import jax
import pytest
from flax import nnx

from infformer_jax.memory.none import NothingConfig
from infformer_jax.types import Read
from tests.memory.contract import at, material, project, trial


def test_writes_and_reads_have_no_effect():
  case, (segments, pasts, _) = trial('none'), material()
  state = case.empty()
  assert case.memory.write(state, at(pasts, -1), project) is state
  assert not case.memory.filled(state).any()
  assert case.memory.read(state, at(segments, 3)) == Read()


def test_it_cannot_be_part_of_a_stack():
  case = trial('none')
  assert case.memory.parts() == case.memory.config.parts() == case.memory.part_states(case.empty()) == {}


@pytest.mark.parametrize('source', ['evicted', 'previous'])
def test_its_layer_caches_no_past(source):
  assert NothingConfig(source=source).lag(4, 8) == 0


def test_it_has_no_parameters():
  assert jax.tree.leaves(nnx.state(trial('none').memory)) == []
