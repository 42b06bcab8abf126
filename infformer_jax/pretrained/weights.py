"""The table of names applied: tensors of a checkpoint to parameters of the trunk, and back."""

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from infformer_jax.errors import UserError
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.architecture import Architecture, Row
from infformer_jax.pretrained.tensor_files import Kind, TensorFiles, kind_of
from infformer_jax.types import Array

Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of the trunk's parameters by name."""

_HEAD = 'lm_head.weight'
_EMBEDDING = 'vocabulary/embedding/embedding'


def table(files: TensorFiles, architecture: Architecture, model: ModelConfig, shapes: Shapes) -> list[Row]:
  """The table of names with the names that the files have; no tensor is read.

  Raises:
    UserError: a tensor is missing, unknown or has another shape than config.json says; names it and its file.
  """
  named = any(name.startswith(architecture.base) for name in files.kinds)
  rows = []
  for row in architecture.rows(model):
    rows.append(row if named else row._replace(theirs=row.theirs.removeprefix(architecture.base)))
  for row in rows:
    expected = _shape(row, shapes)
    if row.theirs not in files.kinds:
      raise UserError(f'{files.where} has no tensor {row.theirs}; download the whole checkpoint again')
    if (kind := files.kinds[row.theirs]).shape != expected:
      raise UserError(
        f'{files.file(row.theirs)}: {row.theirs} is {kind}, but {list(expected)} by config.json; '
        'use the files of one checkpoint'
      )
  known = {row.theirs for row in rows} | ({_HEAD} if model.tie_embeddings else set())
  for name in sorted(files.kinds.keys() - known):
    inner = name.removeprefix(architecture.base)
    if not any(re.fullmatch(pattern, inner) for pattern in architecture.buffers):
      raise UserError(
        f"{files.file(name)} has a tensor that the architecture '{architecture.model_type}' does not: {name}"
      )
  return rows


def parameters(
  files: TensorFiles, rows: list[Row], shapes: Shapes, scales: Mapping[str, float], dtype: str
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields the parameters by name; one tensor is read at a time.

  Args:
    files: of the checkpoint.
    rows: of `table`.
    shapes: of the parameters.
    scales: of `Architecture.scales`.
    dtype: of the parameters.
  Raises:
    UserError: a file cannot be read, or the head is not the embedding although config.json says so.
  """
  has_own_head = any(row.theirs == _HEAD for row in rows)
  tied = {row.theirs for row in rows if _EMBEDDING in row.ours and _HEAD in files.kinds and not has_own_head}
  for row in rows:
    tensor = files.read(row.theirs)
    if row.theirs in tied and not np.array_equal(files.read(_HEAD), tensor):
      raise UserError(
        f'{files.file(_HEAD)}: {_HEAD} differs from {row.theirs}, but config.json has '
        'tie_word_embeddings = true; correct it'
      )
    tensor = tensor.astype(dtype, copy=False)
    if row.transposed:
      tensor = tensor.T
    ends = np.cumsum([shapes[name][-1] for name in row.ours])[:-1]
    for name, array in zip(row.ours, np.split(tensor, ends, axis=-1), strict=True):
      yield name, array * np.asarray(scales[name], dtype) if name in scales else array


def tensors(
  rows: list[Row], params: Mapping[str, Array]
) -> tuple[list[tuple[str, Kind]], Callable[[str], np.ndarray]]:
  """The arguments of `tensor_files.write` for parameters by name."""
  by_name = {row.theirs: row for row in rows}
  shapes = {name: array.shape for name, array in params.items()}

  def read(name: str) -> np.ndarray:
    row = by_name[name]
    tensor = np.concatenate([np.asarray(params[our]) for our in row.ours], axis=-1)
    return tensor.T if row.transposed else tensor

  kinds = [(row.theirs, Kind(kind_of(params[row.ours[0]]).dtype, _shape(row, shapes))) for row in rows]
  return kinds, read


def _shape(row: Row, shapes: Shapes) -> tuple[int, ...]:
  """The shape of the tensor of a row."""
  *first, _ = shapes[row.ours[0]]
  shape = (*first, sum(shapes[name][-1] for name in row.ours))
  return shape[::-1] if row.transposed else shape
