"""The training step: its loss and gradient, and its handling of values that are not finite."""

import dataclasses
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.nn import transformer
from infformer_jax.train.optimizer import OptimizerConfig, make_optimizer
from infformer_jax.train.parameter_groups import split
from infformer_jax.train.sharding import name
from infformer_jax.train.state import initial_state
from infformer_jax.train.step import make_train_step
from tests import toy
from tests.bits import bits

MODEL = toy.config(toy.small('continuous'), dropout=0.1)
OPTIMIZER = OptimizerConfig(learning_rate=1e-2, warmup_steps=4)
TOLERANCE = 1e-5
"""Relative tolerance for a float32 loss that is summed in another order."""


@pytest.fixture(scope='module')
def start():
  """(graphdef, initial state); copy the state, because the step donates its argument."""
  optimizer, sizes = make_optimizer(OPTIMIZER, 10), {'vocab_size': toy.VOCABULARY, 'batch_size': 4}
  return initial_state(MODEL, optimizer, **sizes, seed=0)


@pytest.fixture(scope='module')
def step(start):
  return make_train_step(start[0], OPTIMIZER, 10)


@pytest.fixture(scope='module')
def batch():
  return toy.batch()


@pytest.fixture
def state(start):
  return jax.tree.map(jnp.copy, start[1])


def poisoned(state, path: str):
  """The state with one NaN in the parameter with this name."""

  def poison(key, leaf):
    return leaf.at[(0,) * leaf.ndim].set(jnp.nan) if name(key) == path else leaf

  return dataclasses.replace(state, params=jax.tree.map_with_path(poison, state.params))


def values(state):
  """Copies of the bits of the state without `finite`, because the step donates the state."""
  return jax.tree.map(np.copy, bits(dataclasses.replace(state, finite=None)))


@pytest.fixture(scope='module')
def plainly(start, batch):
  """The nll of every token [b, s, l] and the gradient, computed from their definitions."""
  graphdef, state = start

  def loss(params):
    model = transformer.merge(graphdef, params)
    output = model(batch, state.memory, key=state.key)
    nll_bsl = model.vocabulary.token_losses(output.hidden_bsld, batch.targets_bsl)
    weights = model.aux_weights()
    assert set(weights.values()) == {toy.SMALL['kl_weight']}
    aux = sum(weight * output.aux[key][0] / output.aux[key][1] for key, weight in weights.items())
    return (nll_bsl * batch.ok_bsl).sum() / batch.ok_bsl.sum() + aux, nll_bsl

  gradients, nll_bsl = jax.jit(jax.grad(loss, has_aux=True))(state.params)
  return np.asarray(nll_bsl, np.float64), gradients


def norm(gradients) -> float:
  squares = [(np.asarray(gradient, np.float64) ** 2).sum() for gradient in jax.tree.leaves(gradients)]
  return np.sqrt(sum(squares))


def test_the_loss_is_the_mean_over_real_tokens(plainly, step, state, batch):
  _, report = step(state, batch)
  total, count = report.metrics['loss_nats_per_token']
  assert count == batch.ok_bsl.sum() == sum(sum(sizes) for sizes in toy.DOCUMENTS)
  assert total == pytest.approx(plainly[0][batch.ok_bsl].sum(), rel=TOLERANCE)
  padding, positions = report.metrics['padded_fraction']
  assert (padding, positions) == ((~batch.ok_bsl).sum(), batch.ok_bsl.size)


def test_the_gradient_is_that_of_the_mean_plus_the_weighted_auxiliary_losses(plainly, step, state, batch):
  _, report = step(state, batch)
  assert report.metrics['gradient_norm'][0] == pytest.approx(norm(plainly[1]), rel=TOLERANCE)


def test_a_step_that_trains_the_memory_changes_only_the_memory(plainly, start, batch):
  """Frozen parameters keep their bits, and have no gradient."""
  config = dataclasses.replace(OPTIMIZER, trained='memory', weight_decay=0.1)
  before = jax.tree.map(jnp.copy, start[1])
  optimizer = jax.jit(make_optimizer(config, 10).init)(before.params)
  state = dataclasses.replace(before, optimizer=optimizer)
  after, report = make_train_step(start[0], config, 10)(state, batch)
  trained, _ = split(plainly[1], 'memory')
  assert report.metrics['gradient_norm'][0] == pytest.approx(norm(trained), rel=TOLERANCE)
  assert not [group for group in report.groups if group.startswith('gradient') and 'memory' not in group]
  assert report.metrics.keys() & {'learning_rate', 'memory_learning_rate'} == {'memory_learning_rate'}
  changed = jax.tree.map(lambda new, old: bool((new != old).any()), bits(after.params), bits(start[1].params))
  assert all(jax.tree.leaves(split(changed, 'memory')[0]))
  assert not any(jax.tree.leaves(split(changed, 'memory')[1]))


def test_targets_in_padding_have_no_effect(start, step, batch):
  other = dataclasses.replace(batch, targets_bsl=np.where(batch.ok_bsl, batch.targets_bsl, 5))
  after = [step(jax.tree.map(jnp.copy, start[1]), b)[0] for b in (batch, other)]
  chex.assert_trees_all_equal(values(after[0]), values(after[1]))


def test_a_step_is_counted_changes_all_parameters_and_keeps_the_key(start, step, state, batch):
  after, report = step(state, batch)
  assert after.step == 1
  assert report.finite
  assert after.finite
  chex.assert_trees_all_equal(bits(after.key), bits(start[1].key))
  for path, leaf in jax.tree.leaves_with_path(after.params):
    before = dict(jax.tree.leaves_with_path(start[1].params))[path]
    assert not jnp.array_equal(leaf, before), name(path)
  rate, count = report.metrics['learning_rate']
  assert rate / count == pytest.approx(1e-2 / 4)


def test_the_state_is_donated(step, state, batch):
  step(state, batch)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


@pytest.mark.parametrize(
  ('path', 'first'),
  [
    ('vocabulary/embedding/embedding', 'memory blocks/0/'),
    ('blocks/0/feed_forward/w_out/bias', 'memory blocks/1/'),
    ('blocks/1/feed_forward/w_out/bias', 'loss'),
    ('final_norm/scale', 'loss'),
  ],
)
def test_a_value_that_is_not_finite_is_named_and_the_state_does_not_change(step, state, batch, path, first):
  if path == 'vocabulary/embedding/embedding':
    batch = dataclasses.replace(batch, tokens_bsl=np.zeros_like(batch.tokens_bsl))
  state = poisoned(state, path)
  before = values(state)
  state, report = step(state, batch)
  assert not report.finite
  bad = [group for group, finite in report.groups.items() if not finite]
  assert bad[0].startswith(first)
  chex.assert_trees_all_equal(values(state), before)
  assert not state.finite


def test_steps_after_a_failed_step_do_not_change_the_state(step, state, batch):
  state = dataclasses.replace(state, finite=jnp.bool_(False))
  before = values(state)
  for _ in range(2):
    state, report = step(state, batch)
    assert all(report.groups.values())
    assert not report.finite
    chex.assert_trees_all_equal(values(state), before)


@pytest.fixture(scope='module')
def skipping_step(start):
  """Skips up to two steps in a row; processes the lanes in two groups."""
  return make_train_step(start[0], OPTIMIZER, 10, accumulate_steps=2, max_skipped_steps=2)


@pytest.mark.slow
def test_groups_of_lanes_have_the_metrics_of_all_lanes(start, step, skipping_step, batch):
  reports = [run(jax.tree.map(jnp.copy, start[1]), batch)[1] for run in (step, skipping_step)]
  once, groups = (report.metrics for report in reports)
  assert {name: pytest.approx(float(total), rel=TOLERANCE) for name, (total, _) in once.items()} == {
    name: float(total) for name, (total, _) in groups.items()
  }


def test_a_skipped_step_empties_the_memories_and_changes_nothing_else(skipping_step, state, batch):
  state, _ = skipping_step(state, batch)  # Fills the memories.
  state = poisoned(state, 'final_norm/scale')
  before = values(state)
  for skipped in (1, 2):
    state, report = skipping_step(state, batch)
    assert (bool(report.applied), bool(report.finite), bool(state.finite)) == (False, True, True)
    assert state.skipped == skipped
    after = values(state)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves((after.memory.blocks, after.memory.segments_b)))
    assert (after.memory.index_b == before.memory.index_b + skipped * toy.SEGMENTS).all()
    unchanged = {'memory': None, 'skipped': None}
    chex.assert_trees_all_equal(*(dataclasses.replace(each, **unchanged) for each in (after, before)))
  before = values(state)
  for _ in range(2):  # More than the limit.
    state, report = skipping_step(state, batch)
    assert not report.finite
    assert not state.finite
    chex.assert_trees_all_equal(values(state), before)


def test_a_document_goes_on_after_a_skipped_step_as_if_it_began_there(start, skipping_step, batch):
  """The second step is skipped; the chunk of the third begins with a document, or within one."""
  results = []
  for begins in (True, False):
    state, _ = skipping_step(jax.tree.map(jnp.copy, start[1]), batch)
    good = jax.tree.map(jnp.copy, state.params)
    state, _ = skipping_step(poisoned(state, 'final_norm/scale'), batch)
    third = dataclasses.replace(batch, new_doc_bs=np.array(batch.new_doc_bs))
    third.new_doc_bs[:, 0] = begins
    state, report = skipping_step(dataclasses.replace(state, params=good), third)
    assert report.applied
    assert (int(state.step), int(state.skipped)) == (2, 0)
    results.append(values(state))
  chex.assert_trees_all_equal(*results)


def test_the_groups_are_in_the_order_of_computation(step, state, batch):
  _, report = step(state, batch)
  groups = list(report.groups)
  kinds = [group.split(' ')[0] for group in groups]
  assert list(dict.fromkeys(kinds)) == ['memory', 'loss', 'auxiliary', 'gradient', 'updated']
  modules = 'final_norm', 'blocks/1/attention/w_q', 'blocks/0/attention/w_q', 'vocabulary/embedding', 'u_hk'
  places = [groups.index(f'gradient of {module}') for module in modules]
  assert places[:3] == sorted(places[:3])
  assert max(places[:3]) < min(places[3:])  # The gradients of shared parameters are complete last.


@pytest.mark.slow
def test_constants_that_are_arguments_are_not_in_the_program(start, step, state, batch):
  constants = transformer.merge(start[0], state.params).constants()
  (write,) = constants.values()
  shapes = ['x'.join(map(str, leaf.shape)) for leaf in jax.tree.leaves(write)]

  def is_embedded(*args):
    lines = [line for line in step.lower(state, batch, *args).as_text().splitlines() if 'constant' in line]
    return [any(re.search(rf'dense<["\[].*tensor<{shape}x', line) for line in lines) for shape in shapes]

  assert all(is_embedded())
  assert not any(is_embedded(constants))
  other = jax.tree.map(jnp.copy, state)
  chex.assert_trees_all_equal(bits(step(state, batch)[0]), bits(step(other, batch, constants)[0]))
