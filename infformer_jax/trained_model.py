"""A trained model: what evaluation, generation and inspection take, and what a work directory holds."""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from infformer_jax import paths
from infformer_jax.config import stored_config
from infformer_jax.errors import UserError
from infformer_jax.nn import transformer, vocabulary
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.checkpoint import Checkpoints, named_arrays
from infformer_jax.train.checksum import kind_in
from infformer_jax.train.mesh import make_mesh
from infformer_jax.train.sharding import put_constants, shardings
from infformer_jax.types import Array, PyTree

_SIZE_FROM = f'params/{vocabulary.SIZE_FROM}'


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainedModel:
  """A model with the parameters that it has after some steps of training.

  `trained.model()` is the Transformer. Inside a jitted function the parameters and the constants should be
  arguments of that function, since what it closes over becomes constants of the program:

      def run(params, constants, batch, state):
        return trained.model(params, constants)(batch, state)

      output = jax.jit(run)(trained.params, trained.constants, batch, trained.model().init_state(1))
  """

  graphdef: nnx.GraphDef  # the structure of the model, as `transformer.build` returns it
  params: PyTree  # pure dict, on the mesh
  mesh: Mesh  # train/mesh.py
  step: int  # the number of training steps

  @classmethod
  def load(
    cls,
    workdir: str | os.PathLike[str],
    model: ModelConfig | None = None,
    *,
    step: int | None = None,
    mesh: Mesh | None = None,
    warn: Callable[[str], None] = warnings.warn,
  ) -> 'TrainedModel':
    """The model of a work directory, which may still be training; reads only.

    Args:
      workdir: of a finished or current training run.
      model: the config of the model, if it differs from the one in `workdir`/config.json. Its parameters must
        be the trained ones.
      step: the step of the checkpoint; None: the newest intact one.
      mesh: where the parameters go, sharded as its axes say; None: all of them on every device.
      warn: takes the line about a damaged checkpoint.
    Raises:
      ConfigError: there is no config.json, or it is damaged.
      UserError: there is no such checkpoint, none is intact, or the parameters of `model` are others.
    """
    workdir = paths.parse(os.fspath(workdir), 'workdir')
    if model is None:
      model = stored_config.read_config(ModelConfig, workdir / 'config.json', 'model')
    if mesh is None:
      mesh = make_mesh()
    checkpoints = Checkpoints(workdir / 'checkpoints', warn=warn)
    saved = next(checkpoints.described(), None)
    if saved is None:
      raise UserError(f'{workdir} has no checkpoint yet; use the directory of a training run')
    trained = {name: kind_in(text) for name, text in saved.items() if name.startswith('params/')}
    if _SIZE_FROM not in trained:
      raise UserError(
        f'{workdir / "checkpoints"} has no array {_SIZE_FROM}: another version of the package wrote it; '
        'train again in another work directory'
      )
    build = functools.partial(transformer.build, model, _num_rows(trained[_SIZE_FROM]))
    graphdef, params = jax.eval_shape(build, jax.random.key(0))
    like = {'params': params}
    restored = checkpoints.restore(like, shardings(like, mesh), step=step)
    assert restored is not None  # There is a checkpoint.
    known = jax.eval_shape(named_arrays, like)
    if more := [name for name in trained if name not in known]:
      raise UserError(
        f'the model of the config lacks parameters that {workdir} has trained: {", ".join(more)}; '
        'set model.memory and model.short_term_length as they were in training'
      )
    tree, run = restored
    return cls(graphdef=graphdef, params=tree['params'], mesh=mesh, step=run['data_position'])

  @property
  def config(self) -> ModelConfig:
    """The config of the model."""
    return self.model().config

  @functools.cached_property
  def constants(self) -> PyTree:
    """Those of the model, on the mesh."""
    return put_constants(self.model().constants(), self.mesh)

  def model(self, params: PyTree | None = None, constants: PyTree | None = None) -> transformer.Transformer:
    """The Transformer, inside or outside of jit, with these parameters or, if None, with its own.

    A jitted function that does not get the constants of the memories as an argument embeds them.
    """
    return transformer.merge(self.graphdef, self.params if params is None else params, constants)

  def local(self) -> 'TrainedModel':
    """The model on one device of this process, which can use it without the others. All of them call this."""
    device = jax.local_devices()[0]
    gathered = jax.jit(lambda a: a, out_shardings=NamedSharding(self.mesh, PartitionSpec()))

    def local(a: Array) -> Array:
      readable = a.is_fully_addressable or a.is_fully_replicated
      return jax.device_put(np.asarray(a if readable else gathered(a)), device)

    params = jax.tree.map(local, self.params)  # One array is gathered at a time.
    return dataclasses.replace(self, params=params, mesh=make_mesh(devices=[device]))


def _num_rows(kind: str) -> int:
  """The first size of an array, given as in a checkpoint's metadata.

  >>> _num_rows('float32[257,16]')
  257
  """
  return int(kind.partition('[')[2].split(',')[0].rstrip(']'))
