"""The training state before the first step."""

import functools

import chex
import jax
import pytest

from infformer_jax.nn import transformer
from infformer_jax.train.optimizer import OptimizerConfig, make_optimizer
from infformer_jax.train.state import initial_state
from tests import toy
from tests.bits import bits

MODEL = toy.config(toy.MEMORIES['stacked'])
LANES = 3


def begin(seed: int = 0, model=MODEL):
  optimizer = make_optimizer(OptimizerConfig(), 10)
  return initial_state(model, optimizer, vocab_size=toy.VOCABULARY, batch_size=LANES, seed=seed)


@pytest.fixture(scope='module')
def state():
  return begin()[1]


def test_abstract_shapes_equal_those_of_the_arrays(state):
  chex.assert_trees_all_equal_shapes_and_dtypes(state, jax.eval_shape(begin)[1])


def test_memories_are_zeros_with_a_leading_lane_axis(state):
  chex.assert_tree_shape_prefix(state.memory, (LANES,))
  empty = transformer.merge(*transformer.build(MODEL, toy.VOCABULARY, jax.random.key(1))).init_state(LANES)
  chex.assert_trees_all_equal(bits(state.memory), bits(empty))


def test_the_seed_determines_the_parameters_and_the_key_of_all_draws(state):
  key_of_parameters, key_of_draws = jax.random.split(jax.random.key(0))
  build = jax.jit(lambda key: transformer.build(MODEL, toy.VOCABULARY, key)[1])
  chex.assert_trees_all_equal(bits(state.params), bits(build(key_of_parameters)))
  chex.assert_trees_all_equal(bits(state.key), bits(key_of_draws))
  other = begin(seed=1)[1]
  kernel = 'blocks', 0, 'attention', 'w_q', 'kernel'
  mine, others = (functools.reduce(lambda tree, key: tree[key], kernel, s.params) for s in (state, other))
  assert (mine != others).any()


def test_the_initial_step_is_zero_no_step_is_skipped_and_all_values_are_finite(state):
  assert int(state.step) == int(state.skipped) == 0
  assert bool(state.finite)


def test_more_layers_need_no_more_programs():
  programs, numbers = [], []

  def count(event, seconds, **about):
    if event.endswith('backend_compile_duration'):
      programs.append(about)

  jax.monitoring.register_event_duration_secs_listener(count)
  try:
    for layers in (2, 4):
      jax.clear_caches()
      programs.clear()
      begin(model=toy.config(toy.small('continuous'), num_layers=layers))
      numbers.append(len(programs))
  finally:
    jax.monitoring.unregister_event_duration_listener(count)
  assert numbers[0] == numbers[1] > 0
