"""AdamW per parameter group: learning rates, weight decay and schedules."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.errors import ConfigError
from infformer_jax.train.optimizer import (
  OptimizerConfig,
  decayed,
  make_optimizer,
  make_schedules,
  names,
  parameter_groups,
)
from infformer_jax.train.sharding import name
from tests import toy

CONFIG = OptimizerConfig(
  learning_rate=0.1,
  memory_learning_rate=0.03,
  warmup_steps=1,
  weight_decay=0.5,
  final_learning_rate_fraction=1.0,
)


@pytest.fixture(scope='module')
def params():
  return toy.build(toy.config(toy.small('continuous', gate=True)), spread=0.1)[1]


def named(tree) -> dict:
  return {name(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def update(config: OptimizerConfig, params, gradients):
  optimizer = make_optimizer(config, 10)
  step = jax.jit(lambda g, p: optimizer.update(g, optimizer.init(p), p))
  return step(gradients, params)


def test_the_learning_rate_rises_linearly_and_decays_as_a_cosine():
  config = OptimizerConfig(learning_rate=2.0, warmup_steps=10, final_learning_rate_fraction=0.25)
  schedule = make_schedules(config, 110)['learning_rate']
  rates = np.array([schedule(steps_done) for steps_done in range(120)])
  np.testing.assert_allclose(rates[:10], 0.2 * np.arange(1, 11), rtol=1e-6)
  np.testing.assert_allclose(rates[59], (2.0 + 0.5) / 2, rtol=1e-6)  # Halfway between peak and floor.
  np.testing.assert_allclose(rates[109:], 0.5, rtol=1e-6)
  assert (np.diff(rates[9:110]) < 0).all()


@pytest.mark.parametrize('num_steps', [1, 20, 137])
@pytest.mark.parametrize('warmup_steps', [0, 1, 20, 50])
@pytest.mark.parametrize('floor', [0.0, 0.1, 1.0])
def test_the_schedule_is_a_linear_warmup_followed_by_half_a_cosine(num_steps, warmup_steps, floor):
  config = OptimizerConfig(learning_rate=3e-4, warmup_steps=warmup_steps, final_learning_rate_fraction=floor)
  step = np.arange(1, num_steps + 10, dtype=np.float64)
  warmup = max(warmup_steps, 1)
  progress = np.clip((step - warmup) / max(num_steps - warmup, 1), 0, 1)
  cosine = (1 + np.cos(np.pi * progress)) / 2
  expected = 3e-4 * np.minimum(step / warmup, 1) * (floor + (1 - floor) * cosine)
  schedule = make_schedules(config, num_steps)['learning_rate']
  rates = jax.vmap(schedule)(jnp.arange(len(step)))
  np.testing.assert_allclose(rates, expected, rtol=0, atol=3e-4 * 4 * np.finfo(np.float32).eps)


def test_the_memory_has_the_same_learning_rate_by_default():
  same = make_schedules(OptimizerConfig(learning_rate=0.1), 10)
  assert same['learning_rate'](3) == same['memory_learning_rate'](3)
  own = make_schedules(OptimizerConfig(learning_rate=0.1, memory_learning_rate=0.0), 10)
  assert own['memory_learning_rate'](3) == 0


def test_all_parameters_of_memories_are_in_the_memory_group(params):
  groups = named(parameter_groups(params))
  memory = {key for key, group in groups.items() if group == 'memory_learning_rate'}
  assert memory == {key for key in groups if '/memory/' in key}
  assert {key.split('/')[1] for key in memory} == {'0', '1'}
  assert any('attention/' in key for key in set(groups) - memory)


def test_each_group_is_updated_with_its_own_learning_rate(params):
  ones = jax.tree.map(jnp.ones_like, params)
  moves, _ = update(OptimizerConfig(**{**vars(CONFIG), 'weight_decay': 0.0}), params, ones)

  def expected(path, leaf):  # The first update of Adam is the sign of the gradient.
    return jnp.full_like(leaf, -0.03 if 'memory' in names(path) else -0.1)

  chex.assert_trees_all_close(moves, jax.tree.map_with_path(expected, params), rtol=1e-4, atol=0)


def test_only_matrices_have_weight_decay(params):
  moves, _ = update(CONFIG, params, jax.tree.map(jnp.zeros_like, params))

  def expected(path, leaf, decays):
    return -(0.03 if 'memory' in names(path) else 0.1) * 0.5 * leaf * decays

  chex.assert_trees_all_close(
    moves, jax.tree.map_with_path(expected, params, decayed(params)), rtol=1e-5, atol=0
  )
  decays, kept = named(decayed(params)), named(params)
  still = {key for key, decay in decays.items() if not decay}
  assert {key.split('/')[-1] for key in still} >= {'bias', 'scale', 'u_hk', 'v_hk', 'w_mu_n'}
  assert all(kept[key].ndim > 1 for key in set(decays) - still)
  assert {'vocabulary/embedding/embedding', 'blocks/0/attention/w_q/kernel'} <= set(decays) - still


def test_the_global_norm_of_the_gradient_is_clipped(params):
  gradients = jax.tree.map(lambda leaf: 3.0 * jnp.ones_like(leaf), params)
  norm = 3.0 * np.sqrt(sum(leaf.size for leaf in jax.tree.leaves(params)))
  for clip_norm, scale in ((norm / 4, 0.25), (4 * norm, 1.0)):
    config = OptimizerConfig(clip_norm=float(clip_norm), b1=0.9)
    _, state = update(config, params, gradients)
    moments = jax.tree.map(lambda leaf, scale=scale: jnp.full_like(leaf, 0.1 * 3.0 * scale), params)
    chex.assert_trees_all_close(state[1].mu, moments, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('learning_rate', -1.0),
    ('warmup_steps', -1),
    ('weight_decay', -0.1),
    ('b2', 1.0),
    ('clip_norm', 0.0),
    ('final_learning_rate_fraction', 1.5),
  ],
)
def test_invalid_values_are_rejected_by_name(key, value):
  with pytest.raises(ConfigError, match=f'^{key} = {value} '):
    OptimizerConfig(**{key: value})
