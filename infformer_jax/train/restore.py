"""The model of a work directory, without what only training needs."""

import functools
import pathlib
from collections.abc import Callable

import jax
from flax import nnx
from jax.sharding import Mesh

from infformer_jax.config import UserError
from infformer_jax.nn import transformer
from infformer_jax.nn.config import ModelConfig
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.sharding import shardings
from infformer_jax.types import PyTree


def restore_model(
  workdir: pathlib.Path,
  model: ModelConfig,
  *,
  vocab_size: int,
  mesh: Mesh,
  warn: Callable[[str], None],
) -> tuple[nnx.GraphDef, PyTree, int]:
  """The newest intact checkpoint's model; changes nothing, so the run may be going on.

  Args:
    workdir: of a finished or running training.
    model: as it was trained, or another whose parameters are the same.
    vocab_size: v.
    mesh: where the parameters go.
    warn: takes the line about a damaged checkpoint.
  Returns:
    (graphdef, params, step).
  Raises:
    UserError: there is no checkpoint, none is intact, or its parameters are others.
  """
  build = functools.partial(transformer.build, model, vocab_size)
  graphdef, params = jax.eval_shape(build, jax.random.key(0))
  like = {'params': params}
  restored = Checkpoints(workdir / 'checkpoints', warn=warn).restore(like, shardings(like, mesh))
  if restored is None:
    raise UserError(f'{workdir} has no checkpoint yet; train first, with --mode=train')
  tree, run = restored
  return graphdef, tree['params'], run['data_position']
