"""Capacity, rank and horizon of a signal, computed from the config."""

import pytest

from infformer_jax.core import capacity
from infformer_jax.evaluation.signal_figures import signal_figures
from infformer_jax.memory.stacked import StackedConfig
from tests import toy


def test_the_figures_equal_those_of_the_signal():
  memory = toy.small('continuous')
  spec = memory.signal_spec(toy.LENGTH)
  expected = {
    'capacity': capacity.capacity(spec),
    'effective_rank': capacity.effective_rank(spec),
    'horizon_tokens': capacity.horizon(spec),
  }
  assert signal_figures(toy.config(memory)) == expected
  stack = StackedConfig(first=toy.small('recent', length=toy.LENGTH), second=memory)
  assert signal_figures(toy.config(stack)) == expected


@pytest.mark.parametrize('kind', ['none', 'recent', 'neighbours'])
def test_memories_without_a_signal_have_no_figures(kind):
  figures = signal_figures(toy.config(toy.small(kind)))
  assert figures == {'capacity': None, 'effective_rank': None, 'horizon_tokens': None}


def test_a_contraction_that_changes_has_a_rank_but_no_capacity_and_no_horizon():
  figures = signal_figures(toy.config(toy.MEMORIES['equal']))
  assert figures['capacity'] is figures['horizon_tokens'] is None
  assert 0 < figures['effective_rank'] <= toy.SMALL['num_basis']
