"""Starting a run from the parameters of another run (`init_from`)."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh

from infformer_jax.errors import UserError
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.checkpoint import Checkpoints, named_arrays
from infformer_jax.train.checksum import digest, kind, kind_in
from infformer_jax.train.sharding import name, shardings
from infformer_jax.types import Array, PyTree


def initial_parameters(
  workdir: epath.Path,
  model: ModelConfig,
  *,
  vocab_size: int,
  mesh: Mesh,
  say: Callable[[str], None],
) -> dict[str, Array]:
  """The parameters of another run with which a new run starts.

  Args:
    workdir: the work directory of the other run.
    model: has all of its parameters, with the same shapes and dtypes; may have more.
    vocab_size: v.
    mesh: of the parameters.
    say: called with a line about the new parameters, and one about each damaged checkpoint.
  Returns:
    The trained parameters by name, 'params/...', of the newest intact checkpoint.
  Raises:
    UserError: there is no checkpoint, or the model lacks one of its parameters or has it with another shape.
  """
  checkpoints = Checkpoints(workdir / 'checkpoints', warn=say)
  saved = next(checkpoints.described(), None)
  if saved is None:
    raise _no_checkpoint(workdir)
  ours = abstract_parameters(model, vocab_size)
  if wrong := _differences(saved, ours):
    raise UserError(f'init_from = {workdir} does not fit the config: {"; ".join(wrong)}')
  like = {key: leaf for key, leaf in ours.items() if key in saved}
  restored = checkpoints.restore(like, shardings(like, mesh))
  assert restored is not None  # `kinds` has found a checkpoint.
  say(
    f'starting from the parameters of {workdir} after step {restored[1]["data_position"]}; '
    f'{new_parameters(model, vocab_size, saved)}'
  )
  return restored[0]


def new_parameters(model: ModelConfig, vocab_size: int, given: Collection[str]) -> str:
  """The text about the parameters of a model that are not among the given ones, 'params/...'."""
  ours = abstract_parameters(model, vocab_size)
  new = [key.removeprefix('params/') for key in ours if key not in given]
  return f'new parameters: {", ".join(new) if new else "none"}'


def parameters_sha256(described: Mapping[str, str]) -> str:
  """A hash of the parameters among the arrays that `checksum.described` has described."""
  return digest({key: text for key, text in described.items() if key.startswith('params/')})


def saved_sha256(workdir: epath.Path) -> list[str]:
  """`parameters_sha256` of every checkpoint in the work directory of another run; no array is read.

  Raises:
    UserError: there is no readable checkpoint.
  """
  checkpoints = Checkpoints(workdir / 'checkpoints', warn=lambda line: None)
  saved = [parameters_sha256(arrays) for arrays in checkpoints.described()]
  if not saved:
    raise _no_checkpoint(workdir)
  return saved


def require_fit(workdir: epath.Path, model: ModelConfig, *, vocab_size: int) -> None:
  """Checks, before anything is written, that a run can resume with this model.

  Raises:
    UserError: there are checkpoints and none is readable, or the newest has other parameters.
  """
  checkpoints = Checkpoints(workdir / 'checkpoints', warn=lambda line: None)
  if not checkpoints.steps():
    return
  saved = next(checkpoints.described(), None)
  if saved is None:
    raise UserError(f'no checkpoint in {workdir / "checkpoints"} is intact; use another --workdir')
  ours = abstract_parameters(model, vocab_size)
  if wrong := _differences(saved, ours):
    raise UserError(
      f'{workdir} does not fit the model, or another version of the package wrote it: {wrong[0]}; '
      'use another --workdir'
    )


def _no_checkpoint(workdir: epath.Path) -> UserError:
  return UserError(f'init_from = {workdir} has no checkpoint; use the directory of a training run')


@functools.lru_cache(maxsize=2)
def abstract_parameters(model: ModelConfig, vocab_size: int) -> Mapping[str, Any]:
  """The shapes and dtypes of the parameters of a model by name, 'params/...'; tracing it takes seconds."""
  build = functools.partial(transformer.build, model, vocab_size)
  return jax.eval_shape(lambda key: named_arrays({'params': build(key)[1]}), jax.random.key(0))


def _differences(saved: Mapping[str, str], ours: Mapping[str, Any]) -> list[str]:
  """The saved parameters that the model lacks or has with another shape, one line each."""
  kinds = {key: kind(ours[key]) if key in ours else 'missing' for key in saved}
  return [
    f'{key} is {kind_in(saved[key])} in the checkpoint, {kinds[key]} in the model'
    for key in saved
    if key.startswith('params/') and kinds[key] != kind_in(saved[key])
  ]


def replaced(params: PyTree, given: Mapping[str, Array]) -> PyTree:
  """`params` with the leaves of `given`, which are named 'params/...'."""
  return jax.tree.map_with_path(lambda path, leaf: given.get(f'params/{name(path)}', leaf), params)
