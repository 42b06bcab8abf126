"""The memory of an exported model, beside the files that the ecosystem reads.

memory.safetensors    the parameters by their names here: blocks/0/memory/..., blocks/1/position_drift_td
memory.json           the keys of ModelConfig with which it was trained, and which no config.json has
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from infformer_jax import files
from infformer_jax.config.parsing import parse
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.nn import position_drift
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained import tensor_files
from infformer_jax.pretrained.tensor_files import TensorFiles
from infformer_jax.types import Array

TENSORS = 'memory.safetensors'
CONFIG = 'memory.json'
KEYS = ('segment_length', 'short_term_length', 'window', 'memory')


def is_of_memory(name: str) -> bool:
  """Whether a parameter belongs to the long memory, or to a short-term window of learned positions.

  >>> is_of_memory('blocks/0/memory/w_o/kernel'), is_of_memory('blocks/0/attention/w_o/kernel')
  (True, False)
  """
  return '/memory/' in name or position_drift.is_drift(name)


def read_keys(folder: epath.Path) -> dict[str, Any]:
  """The keys of ModelConfig in memory.json, with their values; none if there is no such file.

  Raises:
    UserError: it is damaged, or its kind of memory is not registered.
  """
  file = folder / CONFIG
  if not file.exists():
    return {}
  values = files.read_json(file, dict.fromkeys(KEYS, object))
  try:
    # The rest of the config only has to be possible with any of these.
    model = parse(ModelConfig, {key: values[key] for key in KEYS} | {'positions': 'rotary'})
  except ConfigError as error:
    raise UserError(f'{file}: {error}') from None
  return {key: getattr(model, key) for key in KEYS}


def open_tensors(folder: pathlib.Path) -> TensorFiles | None:
  """The memory's parameters; None if there is neither of the files.

  Raises:
    UserError: the file is damaged, or is missing beside its config.
  """
  file = folder / TENSORS
  if file.exists():
    return tensor_files.open_file(file)
  if (folder / CONFIG).exists():
    raise UserError(f'{folder} has {CONFIG} but no {TENSORS}; copy that too, or remove {CONFIG}')
  return None


def write(folder: pathlib.Path, model: ModelConfig, params: Mapping[str, Array]) -> None:
  """Writes both files; a memory without parameters has a file without tensors.

  Args:
    folder: exists.
    model: the config of the model.
    params: those of its memory by name.
  Raises:
    OSError: the file system refuses it.
  """
  kinds = [(name, tensor_files.kind_of(params[name])) for name in sorted(params)]
  tensor_files.write(folder / TENSORS, kinds, lambda name: np.asarray(params[name]))
  values = dataclasses.asdict(model)
  files.write_json(folder / CONFIG, {key: values[key] for key in KEYS})
