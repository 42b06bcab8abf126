"""AdamW per parameter group: learning rates, weight decay and schedules."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax.errors import ConfigError
from infformer_jax.memory import registry
from infformer_jax.memory.base import Site
from infformer_jax.nn import transformer
from infformer_jax.train.optimizer import (
  OptimizerConfig,
  decayed,
  learning_rates,
  make_optimizer,
  make_schedules,
)
from infformer_jax.train.parameter_groups import names, split
from infformer_jax.train.sharding import name
from tests import toy

TRUNK_OPTIONS = (
  {'qkv_bias': True, 'attention_output_bias': True, 'normalize_qk': True, 'num_kv_heads': 2},
  {'positions': 't5', 'feed_forward': 'swiglu', 'norm': 'rmsnorm', 'norm_position': 'post'},
  {'positions': 'learned', 'short_term_length': 0, 'tie_embeddings': False, 'output_bias': True},
)
"""Together they add every parameter that an option of the trunk adds."""

DECAYED = {
  'trunk': """vocabulary/embedding/embedding vocabulary/unembedding/embedding position_embedding/embedding
    attention/w_q/kernel attention/w_k/kernel attention/w_v/kernel attention/w_o/kernel attention/w_r/kernel
    feed_forward/w_in/kernel feed_forward/w_gate/kernel feed_forward/w_out/kernel""",
  'memory': 'compressor/w_cde compressor/around_3de decoder/w_cde w_k_dhk w_v_dhk w_o_hkd gate/kernel',
}
NOT_DECAYED = {
  'trunk': """u_hk v_hk final_norm/scale final_norm/bias vocabulary/output_bias_v
    attention/bias_jh attention/scale_h attention/w_q/bias attention/w_k/bias attention/w_v/bias
    attention/w_o/bias attention_norm/scale attention_norm/bias feed_forward_norm/scale feed_forward_norm/bias
    feed_forward/w_in/bias feed_forward/w_out/bias""",
  'memory': """compressor/b_e compressor/around_e decoder/b_ce gate/bias scale_h gate_h
    w_mu_n w_sigma_n w_mu_cn w_sigma_cn w_pi_cn""",
}
"""All parameters of all memories and of all options of the trunk, without the numbers of layers and items."""

CONFIG = OptimizerConfig(
  learning_rate=0.1,
  memory_learning_rate=0.03,
  norm_learning_rate=0.2,
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
  schedule = make_schedules(config, 110)['trunk']
  rates = np.array([schedule(steps_done) for steps_done in range(120)])
  np.testing.assert_allclose(rates[:10], 0.2 * np.arange(1, 11), rtol=1e-6)
  np.testing.assert_allclose(rates[59], (2.0 + 0.5) / 2, rtol=1e-6)  # Halfway between peak and floor.
  np.testing.assert_allclose(rates[109:], 0.5, rtol=1e-6)
  assert (np.diff(rates[9:110]) < 0).all()


@pytest.mark.parametrize('num_steps', [1, 20, 137])
@pytest.mark.parametrize('warmup_steps', [0, 1, 20, 50])
@pytest.mark.parametrize('floor', [0.0, 0.1, 1.0])
@pytest.mark.parametrize('decay', ['cosine', 'linear'])
def test_the_schedule_is_a_linear_warmup_followed_by_half_a_cosine_or_a_line(
  num_steps, warmup_steps, floor, decay
):
  config = OptimizerConfig(
    learning_rate=3e-4, warmup_steps=warmup_steps, decay=decay, final_learning_rate_fraction=floor
  )
  step = np.arange(1, num_steps + 10, dtype=np.float64)
  warmup = max(warmup_steps, 1)
  progress = np.clip((step - warmup) / max(num_steps - warmup, 1), 0, 1)
  left = {'cosine': (1 + np.cos(np.pi * progress)) / 2, 'linear': 1 - progress}[decay]
  expected = 3e-4 * np.minimum(step / warmup, 1) * (floor + (1 - floor) * left)
  schedule = make_schedules(config, num_steps)['trunk']
  rates = jax.vmap(schedule)(jnp.arange(len(step)))
  np.testing.assert_allclose(rates, expected, rtol=0, atol=3e-4 * 4 * np.finfo(np.float32).eps)


def test_the_groups_have_the_learning_rate_of_the_trunk_by_default():
  same = learning_rates(OptimizerConfig(learning_rate=0.1), 10, 3)
  assert same.keys() == {'learning_rate', 'norm_learning_rate', 'memory_learning_rate'}
  assert len({float(rate) for rate in same.values()}) == 1
  own = learning_rates(OptimizerConfig(memory_learning_rate=0.0, norm_learning_rate=0.1), 10, 3)
  assert own['memory_learning_rate'] == 0 < own['learning_rate'] < own['norm_learning_rate']


def rate(path) -> float:
  """The learning rate of a parameter with CONFIG."""
  keys = names(path)
  return 0.03 if 'memory' in keys else 0.2 if any('_norm' in key for key in keys) else 0.1


def test_each_group_is_updated_with_its_own_learning_rate(params):
  ones = jax.tree.map(jnp.ones_like, params)
  moves, _ = update(OptimizerConfig(**{**vars(CONFIG), 'weight_decay': 0.0}), params, ones)

  def expected(path, leaf):  # The first update of Adam is the sign of the gradient.
    return jnp.full_like(leaf, -rate(path))

  chex.assert_trees_all_close(moves, jax.tree.map_with_path(expected, params), rtol=1e-4, atol=0)


def test_the_optimizer_keeps_two_moments_of_trained_parameters_and_nothing_of_frozen_ones(params):
  for trained in ('all', 'memory', 'memory_and_norms'):
    optimizer = make_optimizer(OptimizerConfig(trained=trained), 10)
    kept = jax.tree.leaves(optimizer.init(params))
    chosen = jax.tree.leaves(split(params, trained)[0])
    counts = [leaf for leaf in kept if leaf.dtype == jnp.int32]  # Of the steps.
    assert sum(leaf.nbytes for leaf in kept) == 2 * sum(leaf.nbytes for leaf in chosen) + 4 * len(counts)
    assert len(kept) == 2 * len(chosen) + len(counts)


def test_the_decayed_parameters_have_weight_decay(params):
  moves, _ = update(CONFIG, params, jax.tree.map(jnp.zeros_like, params))

  def expected(path, leaf, decays):
    return -rate(path) * 0.5 * leaf * decays

  chex.assert_trees_all_close(
    moves, jax.tree.map_with_path(expected, params, decayed(params)), rtol=1e-5, atol=0
  )


def without_numbers(key: str) -> str:
  """The name of a parameter without numbers, and without its block or its place in `stacked`."""
  return re.sub(r'^(blocks|first|second)/', '', re.sub(r'/\d+(?=/|$)', '', key))


def test_every_parameter_is_known_and_only_projections_and_embeddings_decay():
  """The number of axes does not decide: w_mu_cn of a mixture is what w_mu_n is of a single density."""
  site = Site(d_model=16, num_heads=4, head_dim=4, segment_length=toy.LENGTH)
  trees = {'trunk': [], 'memory': []}
  for options in TRUNK_OPTIONS:
    build = functools.partial(transformer.build, toy.config(**options), toy.VOCABULARY)
    trees['trunk'].append(jax.eval_shape(build, jax.random.key(0))[1])
  for memory in toy.MEMORIES.values():
    state = nnx.state(nnx.eval_shape(lambda memory=memory: registry.build(memory, site, rngs=nnx.Rngs(0))))
    trees['memory'].append(nnx.to_pure_dict(state))
  for part, several in trees.items():
    decays = [(without_numbers(key), flag) for tree in several for key, flag in named(decayed(tree)).items()]
    assert {key for key, flag in decays if flag} == set(DECAYED[part].split())
    assert {key for key, flag in decays if not flag} == set(NOT_DECAYED[part].split())


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
