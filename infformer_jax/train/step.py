"""The training step, a pure function of the state and a batch."""

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from infformer_jax.core.pytree import pytree
from infformer_jax.nn import transformer
from infformer_jax.nn.transformer import ModelState
from infformer_jax.train.accumulation import Lanes, gradients
from infformer_jax.train.mesh import make_mesh, within
from infformer_jax.train.optimizer import OptimizerConfig, learning_rates, make_optimizer
from infformer_jax.train.parameter_groups import join, split
from infformer_jax.train.sharding import gather, name
from infformer_jax.train.state import TrainState
from infformer_jax.types import Array, Batch, PyTree, SumCount


@pytree
class Report:
  """The results of a step for the host, which reads them later."""

  metrics: dict[str, SumCount]
  finite: Array  # bool: later steps may change the state; False: the run stops before this step
  applied: Array  # bool: the state before this step and all results of this step are finite
  groups: Mapping[str, Array]  # bool: which groups of tensors are finite, in the order of computation


def make_train_step(
  graphdef: Any,
  config: OptimizerConfig,
  num_steps: int,
  places: PyTree | None = None,
  *,
  accumulate_steps: int = 1,
  max_skipped_steps: int = 0,
) -> jax.stages.Wrapped:
  """The jitted step, (TrainState, Batch, constants) -> (TrainState, Report). It donates the state.

  The loss is Σ nll / number of targets that count, over all lanes of all devices, plus for every auxiliary
  loss its weight times its own Σ / count.

  A step with a value that is not finite is skipped: it empties the memories, which have not read its chunk,
  counts itself in `skipped`, and changes nothing else. After `max_skipped_steps` skipped steps in a row it
  changes only `finite`, and later steps change nothing. The host, which reads the report one step late, still
  has the last good state.

  The constants are those of `Transformer.constants`; without them the program embeds them.

  Args:
    graphdef: of the model (transformer.build).
    config: of the optimizer.
    num_steps: over which its learning rates decay.
    places: the shardings of the state; None: one device.
    accumulate_steps: groups of lanes that are processed one after the other (train/accumulation.py).
    max_skipped_steps: in a row.
  """
  mesh = make_mesh() if places is None else places.step.mesh
  optimizer = make_optimizer(config, num_steps)

  def train_step(
    state: TrainState, batch: Batch, constants: PyTree | None = None
  ) -> tuple[TrainState, Report]:
    trained, frozen = split(state.params, config.trained)

    def forward(trained: PyTree, lanes: Lanes) -> tuple[dict[str, SumCount], ModelState]:
      model = transformer.merge(graphdef, join(trained, frozen), constants, gather(mesh))
      output = model(lanes.batch, lanes.memory, key=state.key, lane_b=lanes.index_b)
      nll_bsl = model.vocabulary.token_losses(output.hidden_bsld, lanes.batch.targets_bsl)
      scored_bsl = lanes.batch.group_bsl >= 0
      sums = {
        'loss_nats_per_token': (jnp.where(scored_bsl, nll_bsl, 0).sum(), scored_bsl.sum()),
        **output.aux,
      }
      sums = {key: (jnp.float32(total), jnp.float32(count)) for key, (total, count) in sums.items()}
      return sums, output.state

    weights = {'loss_nats_per_token': 1.0, **transformer.merge(graphdef, state.params).aux_weights()}
    gradient, sums, memory = gradients(
      forward, trained, batch, state.memory, weights=weights, groups=accumulate_steps
    )
    with jax.named_scope('optimizer'):
      updates, new_optimizer = optimizer.update(gradient, state.optimizer, state.params)
      updated = optax.apply_updates(trained, updates)

    groups = finite_groups(memory, sums, gradient, updated)
    good = jnp.stack(list(groups.values())).all()
    applied = state.finite & good
    skipped = state.finite & ~good & (state.skipped < max_skipped_steps)
    before = (state.step, trained, state.optimizer)
    after = (state.step + 1, updated, new_optimizer)
    step, updated, new_optimizer = jax.tree.map(lambda a, b: jnp.where(applied, a, b), after, before)
    unread = state.memory
    if max_skipped_steps:
      unread = jax.tree.map(lambda a: jnp.where(skipped, jnp.zeros_like(a), a), unread)
      # The chunk has been passed over: later draws are those of their place in the lane.
      unread = dataclasses.replace(unread, index_b=jnp.where(skipped, memory.index_b, state.memory.index_b))

    one = jnp.float32(1)
    metrics = {
      **sums,
      'gradient_norm': (optax.tree.norm(gradient).astype(jnp.float32), one),
      'padded_fraction': (jnp.float32((~batch.ok_bsl).sum()), jnp.float32(batch.ok_bsl.size)),
      **{name: (rate, one) for name, rate in learning_rates(config, num_steps, state.step).items()},
    }
    finite = applied | skipped
    state = TrainState(
      step=step,
      params=join(updated, frozen),
      optimizer=new_optimizer,
      memory=jax.tree.map(lambda a, b: jnp.where(applied, a, b), memory, unread),
      key=state.key,
      finite=finite,
      skipped=jnp.where(finite, jnp.where(applied, 0, state.skipped + 1), state.skipped),
    )
    return state, Report(metrics=metrics, finite=finite, applied=applied, groups=groups)

  everywhere = NamedSharding(mesh, PartitionSpec())
  results = None if places is None else (places, everywhere)
  return jax.jit(within(mesh)(train_step), donate_argnums=0, out_shardings=results)


def finite_groups(
  memory: PyTree, sums: Mapping[str, SumCount], gradients: PyTree, updated: PyTree
) -> OrderedDict[str, Array]:
  """Whether each group of tensors is finite, in the order of computation: the first bad one is the cause.

  The order is: memories from the first layer up, losses, gradients from the last layer down, parameters after
  the update. Frozen parameters have neither. A group is a module: the name of a parameter without its last
  part.
  """

  def backwards(path: tuple) -> tuple[bool, bool]:
    return name(path).startswith(transformer.SHARED), name(path[:1]) == 'blocks'

  last_layer_first = reversed(jax.tree.leaves_with_path(gradients))
  named = [('memory', path, leaf) for path, leaf in jax.tree.leaves_with_path(memory)]
  named += [('loss', (), sums['loss_nats_per_token']), ('auxiliary losses', (), dict(sums))]
  named += [
    ('gradient of', path[:-1] or path, leaf)
    for path, leaf in sorted(last_layer_first, key=lambda path_leaf: backwards(path_leaf[0]))
  ]
  named += [('updated', path[:-1] or path, leaf) for path, leaf in jax.tree.leaves_with_path(updated)]
  groups: OrderedDict[str, Array] = OrderedDict()
  for kind, path, tree in named:
    group = f'{kind} {name(path)}'.rstrip()
    for leaf in jax.tree.leaves(tree):
      if jnp.issubdtype(leaf.dtype, jnp.floating):
        groups[group] = jnp.isfinite(leaf).all() & groups.get(group, True)
  return groups
