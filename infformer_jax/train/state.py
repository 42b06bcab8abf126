"""The state of a training run as one pytree."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from infformer_jax.core.pytree import pytree
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.types import Array, PyTree


@pytree
class TrainState:
  """The argument and the result of a training step, and the content of a checkpoint.

  The key never changes. Random draws fold in their place (the index of the segment in its lane, the layer):
  resumed, differently sharded and uninterrupted runs draw the same numbers.
  """

  step: Array  # int32, steps that have changed the parameters: all but the skipped ones
  params: PyTree  # pure dict
  optimizer: PyTree
  memory: PyTree  # ModelState; every leaf has the lanes first
  key: Any  # typed PRNG key
  finite: Array  # bool; False after a step that stops the run: later steps change nothing
  skipped: Array  # int32, the steps in a row until now that were skipped because a value was not finite


def initial_state(
  model: ModelConfig,
  optimizer: optax.GradientTransformation,
  *,
  vocab_size: int,
  batch_size: int,
  seed: int,
  places: PyTree | None = None,
) -> tuple[nnx.GraphDef, TrainState]:
  """The model's graph definition and the state before the first step.

  Call it under jax.eval_shape for the shapes alone. Not under jax.jit: one program for all parameters takes
  longer to compile than the training step, and has the same values (core/initializers.py).

  Args:
    model: the trunk and its memories.
    optimizer: of the parameters.
    vocab_size: v.
    batch_size: lanes over all devices.
    seed: for the parameters, dropout and random sampling in memories.
    places: the shardings of the state; None: one device.
  """
  key_of_parameters, key_of_draws = jax.random.split(jax.random.key(seed))
  graphdef, params = transformer.build(model, vocab_size, key_of_parameters)

  def start(params: PyTree, key: jax.Array) -> TrainState:
    return TrainState(
      step=jnp.int32(0),
      params=params,
      optimizer=optimizer.init(params),
      memory=transformer.merge(graphdef, params).init_state(batch_size),
      key=key,
      finite=jnp.bool_(True),
      skipped=jnp.int32(0),
    )

  return graphdef, jax.jit(start, out_shardings=places)(params, key_of_draws)
