"""Which part of a model is the first that is not finite."""

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.nn.transformer import SHARED
from infformer_jax.train.exits import NotFiniteModelError
from infformer_jax.train.sharding import name
from infformer_jax.types import Array, PyTree


def require_finite(finite_bi: Array, params: PyTree, when: str) -> None:
  """Checks what a model has computed.

  Args:
    finite_bi: of `transformer.Output` or `open_segment.Open`.
    params: of the model, which are read only if a value is not finite.
    when: says in the error what was computed, such as 'in the prompt'.
  Raises:
    NotFiniteModelError: a value is not finite. Names the first module whose parameters are not finite or, if
      all are, the first whose output is not.
  """
  finite_i = np.asarray(finite_bi).all(axis=0)
  if finite_i.all():
    return
  if module := _first_bad_parameters(params):
    raise NotFiniteModelError(f'the parameters of {module} are not finite (noticed {when})')
  index = int(np.flatnonzero(~finite_i)[0])
  module = 'vocabulary/embedding' if index == 0 else f'blocks/{index - 1}'
  what = 'the logits are' if index > len(params['blocks']) else f'the output of {module} is'
  raise NotFiniteModelError(f'{what} not finite {when}, although all parameters are finite')


def _first_bad_parameters(params: PyTree) -> str | None:
  """The first module with parameters that are not finite, in the order of computation."""
  leaves = jax.tree.leaves_with_path(params)
  for path, leaf in sorted(leaves, key=lambda path_leaf: not name(path_leaf[0]).startswith(SHARED)):
    if not jnp.isfinite(leaf).all():
      return name(path[:-1] or path)
  return None
