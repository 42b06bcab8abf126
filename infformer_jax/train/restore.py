"""The parameters with which a run starts that continues the training of another one (`init_from`)."""

import functools
import pathlib
from collections.abc import Callable, Mapping

import jax
from jax.sharding import Mesh

from infformer_jax.errors import UserError
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.checkpoint import Checkpoints, named_arrays
from infformer_jax.train.checksum import kind
from infformer_jax.train.sharding import name, shardings
from infformer_jax.types import Array, PyTree


def initial_parameters(
  workdir: pathlib.Path,
  model: ModelConfig,
  *,
  vocab_size: int,
  mesh: Mesh,
  say: Callable[[str], None],
) -> dict[str, Array]:
  """The parameters of a work directory with which a new run of another model starts.

  Args:
    workdir: of a finished or running training.
    model: must have all trained parameters with the same shapes; may have others.
    vocab_size: v.
    mesh: where the parameters go.
    say: takes a line about the parameters that stay fresh, and one about a damaged checkpoint.
  Returns:
    The trained parameters by name, 'params/...', of the newest intact checkpoint.
  Raises:
    UserError: there is no checkpoint, or it holds a parameter that the model does not have in this shape.
  """
  checkpoints = Checkpoints(workdir / 'checkpoints', warn=say)
  there = checkpoints.kinds()
  if there is None:
    raise UserError(f'init_from = {workdir} has no checkpoint')
  build = functools.partial(transformer.build, model, vocab_size)
  ours = jax.eval_shape(lambda key: named_arrays({'params': build(key)[1]}), jax.random.key(0))
  trained = {key: what for key, what in there.items() if key.startswith('params/')}
  wrong = [
    f'{key} is {what} there and {kind(ours[key]) if key in ours else "no parameter"} here'
    for key, what in trained.items()
    if key not in ours or kind(ours[key]) != what
  ]
  if wrong:
    raise UserError(f'init_from = {workdir} does not fit the config: {"; ".join(wrong)}')
  like = {key: leaf for key, leaf in ours.items() if key in trained}
  restored = checkpoints.restore(like, shardings(like, mesh))
  assert restored is not None  # There is one.
  fresh = [key.removeprefix('params/') for key in ours if key not in trained]
  say(
    f'parameters of {workdir} after step {restored[1]["data_position"]}; '
    f'fresh: {", ".join(fresh) if fresh else "none"}'
  )
  return restored[0]


def replaced(params: PyTree, given: Mapping[str, Array]) -> PyTree:
  """`params`, with the leaves replaced that `given` has under their names, 'params/...'."""
  return jax.tree.map_with_path(lambda path, leaf: given.get(f'params/{name(path)}', leaf), params)
