"""The training step, a pure function of the state and a batch."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from infformer_jax.core.pytree import pytree
from infformer_jax.nn import transformer
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
  finite: Array  # bool: the state before this step and all results of this step are finite
  groups: Mapping[str, Array]  # bool: which groups of tensors are finite, in the order of computation


def make_train_step(
  graphdef: Any, config: OptimizerConfig, num_steps: int, places: PyTree | None = None
) -> jax.stages.Wrapped:
  """The jitted step, (TrainState, Batch, constants) -> (TrainState, Report). It donates the state.

  The loss is Σ nll / number of targets that count, over all lanes of all devices, plus for every auxiliary
  loss its weight times its own Σ / count. If a value is not finite, the step changes only `finite`, and later
  steps change nothing. The host, which reads the report one step late, still has the last good state.

  The constants are those of `Transformer.constants`; without them the program embeds them.

  Args:
    graphdef: of the model (transformer.build).
    config: of the optimizer.
    num_steps: over which its learning rates decay.
    places: the shardings of the state; None: one device.
  """
  mesh = make_mesh() if places is None else places.step.mesh
  optimizer = make_optimizer(config, num_steps)

  def loss_and_rest(
    trained: PyTree, frozen: PyTree, state: TrainState, batch: Batch, constants: PyTree | None
  ) -> tuple[Array, tuple[Any, dict]]:
    model = transformer.merge(graphdef, join(trained, frozen), constants, gather(mesh))
    output = model(batch, state.memory, key=state.key)
    nll_bsl = model.vocabulary.token_losses(output.hidden_bsld, batch.targets_bsl)
    scored_bsl = batch.group_bsl >= 0
    sums = {
      'loss_nats_per_token': (jnp.where(scored_bsl, nll_bsl, 0).sum(), scored_bsl.sum()),
      **output.aux,
    }
    sums = {key: (jnp.float32(total), jnp.float32(count)) for key, (total, count) in sums.items()}
    loss = mean(sums['loss_nats_per_token'])
    for key, weight in model.aux_weights().items():
      loss += weight * mean(sums[key])
    return loss, (output.state, sums)

  def train_step(
    state: TrainState, batch: Batch, constants: PyTree | None = None
  ) -> tuple[TrainState, Report]:
    trained, frozen = split(state.params, config.trained)
    (_, (memory, sums)), gradients = jax.value_and_grad(loss_and_rest, has_aux=True)(
      trained, frozen, state, batch, constants
    )
    updates, new_optimizer = optimizer.update(gradients, state.optimizer, state.params)
    updated = optax.apply_updates(trained, updates)

    groups = finite_groups(memory, sums, gradients, updated)
    finite = state.finite & jnp.stack(list(groups.values())).all()
    before = (state.step, trained, state.optimizer, state.memory)
    after = (state.step + 1, updated, new_optimizer, memory)
    step, updated, new_optimizer, memory = jax.tree.map(lambda a, b: jnp.where(finite, a, b), after, before)

    one = jnp.float32(1)
    metrics = {
      **sums,
      'gradient_norm': (optax.tree.norm(gradients).astype(jnp.float32), one),
      'padded_fraction': (jnp.float32((~batch.ok_bsl).sum()), jnp.float32(batch.ok_bsl.size)),
      **{name: (rate, one) for name, rate in learning_rates(config, num_steps, state.step).items()},
    }
    state = TrainState(
      step=step,
      params=join(updated, frozen),
      optimizer=new_optimizer,
      memory=memory,
      key=state.key,
      finite=finite,
    )
    return state, Report(metrics=metrics, finite=finite, groups=groups)

  everywhere = NamedSharding(mesh, PartitionSpec())
  results = None if places is None else (places, everywhere)
  return jax.jit(within(mesh)(train_step), donate_argnums=0, out_shardings=results)


def mean(sum_count: SumCount) -> Array:
  """sum / count; 0 where the count is 0."""
  total, count = sum_count
  return total / jnp.maximum(count, 1)


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
