"""Which parameters are trained."""

import chex
import jax
import jax.numpy as jnp
import pytest

from infformer_jax.errors import ConfigError
from infformer_jax.memory.stacked import StackedConfig
from infformer_jax.train import parameter_groups
from infformer_jax.train.sharding import name
from tests import toy

TRAINED = {
  'all': {'memory', 'norms', 'trunk'},
  'memory': {'memory'},
  'memory_and_norms': {'memory', 'norms'},
}


@pytest.fixture(scope='module')
def params():
  return toy.build(toy.config(toy.small('continuous', gate=True, layers=(1,))))[1]


def test_memories_and_norms_are_groups_and_the_trunk_is_the_rest(params):
  groups = {
    name(path): group for path, group in jax.tree.leaves_with_path(parameter_groups.parameter_groups(params))
  }
  assert {key for key, group in groups.items() if group == 'memory'} == {
    f'blocks/1/memory/{key}'
    for key in ('w_k_dhk', 'w_v_dhk', 'w_o_hkd', 'w_mu_n', 'w_sigma_n', 'gate/kernel', 'gate/bias')
  }
  norms = {
    'final_norm',
    *(f'blocks/{i}/{place}_norm' for i in (0, 1) for place in ('attention', 'feed_forward')),
  }
  assert {key.rpartition('/')[0] for key, group in groups.items() if group == 'norms'} == norms
  assert groups['u_hk'] == groups['vocabulary/embedding/embedding'] == 'trunk'


@pytest.mark.parametrize('trained', TRAINED)
def test_the_two_parts_of_the_parameters_are_those_of_the_groups(params, trained):
  chosen, frozen = parameter_groups.split(params, trained)
  groups = parameter_groups.parameter_groups(params)
  kept = jax.tree.map(lambda group, leaf: None if leaf is None else group, groups, chosen)
  assert set(jax.tree.leaves(kept)) == TRAINED[trained]
  assert len(jax.tree.leaves(chosen)) + len(jax.tree.leaves(frozen)) == len(jax.tree.leaves(params))
  chex.assert_trees_all_equal(parameter_groups.join(chosen, frozen), params)


def test_the_trained_parameters_are_counted():
  params = {'blocks': {0: {'memory': jnp.zeros((30, 40)), 'w': jnp.zeros(5)}}}
  expected = "training 1,200 of 1,205 parameters (train.optimizer.trained = 'memory')"
  assert parameter_groups.described(params, 'memory') == expected


@pytest.mark.parametrize('kind', ['none', 'recent'])
def test_a_memory_without_parameters_cannot_be_all_that_is_trained(kind):
  model = toy.config(toy.small(kind))
  with pytest.raises(ConfigError, match=f"trained = 'memory' leaves nothing to train: .*kind = '{kind}'"):
    parameter_groups.require_some(model, 'memory')
  parameter_groups.require_some(model, 'memory_and_norms')
  stacked = StackedConfig(first=toy.small(kind), second=toy.small('continuous'), layers=(1,))
  parameter_groups.require_some(toy.config(stacked), 'memory')
