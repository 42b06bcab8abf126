"""Traits, lags and layers of memory configs, which the trunk needs before it builds a memory."""

import dataclasses

import pytest

from infformer_jax.errors import ConfigError
from infformer_jax.memory.memory_config import MemoryConfig, Traits, require_whole_segments
from infformer_jax.memory.registry import CONFIGS
from infformer_jax.memory.stacked import StackedConfig
from tests import toy

TRAITS = {
  'none': set(),
  'recent': {'learns_writes', 'gives_slots'},
  'compressive': {'learns_writes', 'gives_slots'},
  'neighbours': {'gated'},
  'continuous': {'learns_writes', 'mixes_all'},
  'stacked': {'learns_writes', 'mixes_all', 'gives_slots'},  # The traits of 'continuous' and 'recent'.
}


def names(traits):
  return {name for name, has in dataclasses.asdict(traits).items() if has}


@pytest.mark.parametrize('kind', TRAITS)
def test_every_kind_has_its_traits(kind):
  assert names(toy.MEMORIES[kind].traits) == TRAITS[kind]


def test_the_table_contains_every_built_in_kind():
  built_in = {kind for kind, config in CONFIGS.items() if config.__module__.startswith('infformer_jax.')}
  assert built_in == TRAITS.keys()


@pytest.mark.parametrize(
  ('name', 'traits'),
  [
    ('most_used', {'uses_attention'}),
    ('stacked_most_used', {'uses_attention', 'uses_residual'}),
    ('random', {'draws'}),
    ('edges', {'draws', 'uses_residual'}),
  ],
)
def test_settings_add_traits(name, traits):
  memory = toy.MEMORIES[name]
  assert names(memory.traits) - TRAITS[memory.kind] == traits


@pytest.mark.parametrize('first', ['none', 'recent', 'most_used', 'random', 'neighbours', 'stacked'])
@pytest.mark.parametrize('second', ['none', 'compressive', 'continuous', 'random'])
def test_a_stack_has_the_traits_of_both_memories(first, second):
  parts = toy.MEMORIES[first], toy.MEMORIES[second]
  stack = StackedConfig(first=parts[0], second=parts[1])
  assert names(stack.traits) == names(parts[0].traits) | names(parts[1].traits)
  assert stack.traits == parts[0].traits | parts[1].traits == parts[1].traits | parts[0].traits


def test_the_default_traits_are_those_of_a_memory_that_learns_its_writes():
  assert MemoryConfig(kind='mine').traits == Traits(learns_writes=True)


@pytest.mark.parametrize(
  ('source', 'short', 'lag'), [('evicted', 0, 1), ('evicted', 2, 3), ('previous', 0, 1), ('previous', 2, 1)]
)
def test_the_lag_depends_on_the_source(source, short, lag):
  assert MemoryConfig(kind='mine', source=source).lag(4, 4 * short) == lag


def test_all_layers_have_a_memory_unless_some_are_named():
  assert MemoryConfig(kind='mine').layers_of(3) == (0, 1, 2)
  assert MemoryConfig(kind='mine', layers=(1,)).layers_of(3) == (1,)
  assert MemoryConfig(kind='mine', layers=()).layers_of(3) == ()


@pytest.mark.parametrize(('length', 'use'), [(3, '4 or 8'), (9, '8 or 12')])
def test_a_length_that_is_not_a_multiple_of_segments_is_rejected(length, use):
  message = f'length = {length} must be a multiple of model.segment_length = 4; use {use}$'
  with pytest.raises(ConfigError, match=message):
    require_whole_segments(length, 4)
  with pytest.raises(ConfigError, match=r'length = 0 must be in \[1, '):
    require_whole_segments(0, 4)
  require_whole_segments(8, 4)
