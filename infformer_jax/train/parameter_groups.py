"""The groups of parameters: each has its own learning rate, and some may be frozen.

A frozen parameter is an argument of the step that no gradient is computed for; the optimizer keeps nothing of
it, and it neither decays nor counts in the norm of the gradient.
"""

from typing import Literal

import jax
from flax import nnx

from infformer_jax.errors import ConfigError
from infformer_jax.nn.block import Block
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.types import PyTree

Group = Literal['memory', 'norms', 'trunk']
Trained = Literal['all', 'memory', 'memory_and_norms']

_GROUPS: dict[Trained, tuple[Group, ...]] = {
  'all': ('trunk', 'norms', 'memory'),
  'memory': ('memory',),
  'memory_and_norms': ('norms', 'memory'),
}


def groups_of(trained: Trained) -> tuple[Group, ...]:
  """The groups that are trained."""
  return _GROUPS[trained]


def names(path: tuple) -> list[str]:
  """The keys of a pytree path as strings.

  >>> names((jax.tree_util.DictKey('layers'), jax.tree_util.SequenceKey(0)))
  ['layers', '0']
  """
  return [jax.tree_util.keystr((key,), simple=True) for key in path]


def parameter_groups(params: PyTree) -> PyTree:
  """The group of each parameter: 'memory' for all of a layer's `memory`, 'norms' for those of the trunk."""

  def group(path: tuple) -> Group:
    keys = names(path)
    if 'memory' in keys:
      return 'memory'
    return 'norms' if any(key.endswith('_norm') for key in keys) else 'trunk'

  return jax.tree.map_with_path(lambda path, _: group(path), params)


def split(params: PyTree, trained: Trained) -> tuple[PyTree, PyTree]:
  """The trained and the frozen parameters, each with None, which is no leaf, in place of the others."""
  groups, chosen = parameter_groups(params), groups_of(trained)
  return (
    jax.tree.map(lambda leaf, group: leaf if group in chosen else None, params, groups),
    jax.tree.map(lambda leaf, group: None if group in chosen else leaf, params, groups),
  )


def join(trained: PyTree, frozen: PyTree) -> PyTree:
  """The parameters of which `split` has made the two parts."""
  return jax.tree.map(
    lambda mine, other: other if mine is None else mine, trained, frozen, is_leaf=lambda leaf: leaf is None
  )


def described(params: PyTree, trained: Trained) -> str:
  """A line about how many of the parameters are trained."""
  mine, every = (
    sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (split(params, trained)[0], params)
  )
  return f"training {mine:,} of {every:,} parameters (train.optimizer.trained = '{trained}')"


def require_some(model: ModelConfig, trained: Trained) -> None:
  """Checks that a parameter of the model is trained.

  Raises:
    ConfigError: only the memory is trained, and it has no parameters.
  """
  if trained != 'memory':  # Every model has norms.
    return
  layer = model.memory.layers_of(model.num_layers)[0]
  block = nnx.eval_shape(lambda: Block(model, layer, rngs=nnx.Rngs(0)))
  if not jax.tree.leaves(nnx.state(block.memory)):
    raise ConfigError(
      f"train.optimizer.trained = 'memory' leaves nothing to train: a memory of model.memory.kind = "
      f"'{model.memory.kind}' has no parameters; use another memory, 'memory_and_norms' or 'all'"
    )
