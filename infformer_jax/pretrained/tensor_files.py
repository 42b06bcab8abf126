"""The tensors of a checkpoint directory: one safetensors file, or several with an index.

    model.safetensors                                              all tensors, or
    model.safetensors.index.json                                   the file of every tensor, and
    model-00001-of-00002.safetensors, ...

Shapes and dtypes come from the headers of the files. Tensors are read and written one at a time, so that the
host never has a second copy of the model. The library is imported where it is needed.
"""

import json
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from infformer_jax import files, paths
from infformer_jax.errors import UserError

SINGLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
_PICKLES = ('pytorch_model.bin', 'pytorch_model.bin.index.json')
_PICKLE_STARTS = (b'PK\x03\x04', b'\x80\x02')  # of torch.save, since and before its version 1.6
_DTYPES = {
  'F64': np.dtype(np.float64),
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(jnp.bfloat16),
}


class Kind(NamedTuple):
  """What a header says about a tensor."""

  dtype: str  # as safetensors spells it, such as 'BF16'
  shape: tuple[int, ...]

  def __str__(self) -> str:
    return f'{self.dtype}[{",".join(map(str, self.shape))}]'


class TensorFiles:
  """Safetensors files, whose headers have been read.

  Attributes:
    kinds: the dtype and shape of every tensor by name.
    where: the file that lists the tensors, for errors.
  """

  def __init__(self, tensors: Mapping[str, pathlib.Path], where: pathlib.Path):
    """
    Args:
      tensors: the file of every tensor.
      where: the file that lists them.
    Raises:
      UserError: a file is missing or damaged or is a pickle, lacks a tensor, or has one that is not expected;
        names both.
    """
    self._files, self.where = dict(tensors), where
    self.kinds: dict[str, Kind] = {}
    for file in dict.fromkeys(self._files.values()):
      kinds = headers(file)
      self.kinds |= {name: kind for name, kind in kinds.items() if self._files.get(name) == file}
      if extra := [name for name in kinds if name not in self._files]:
        raise UserError(f'{file} has a tensor that {where} does not name, {extra[0]}; download both again')
      if twice := [name for name in kinds if self._files[name] != file]:
        raise UserError(f'{twice[0]} is in {file} and in {self._files[twice[0]]}; download both again')
    if missing := [name for name in self._files if name not in self.kinds]:
      raise UserError(f'{self._files[missing[0]]} has no tensor {missing[0]}; download it again')

  def file(self, name: str) -> pathlib.Path:
    """The file of a tensor."""
    return self._files[name]

  def read(self, name: str) -> np.ndarray:
    """A tensor, in its own dtype; bfloat16 is that of JAX.

    Raises:
      UserError: the file has another dtype than the floating-point ones, or cannot be read.
    """
    file, kind = self._files[name], self.kinds[name]
    if kind.dtype not in _DTYPES:
      raise UserError(
        f'{file}: {name} is {kind}, not one of {", ".join(_DTYPES)}; use a checkpoint that is not quantized'
      )
    return _opened(file, lambda opened: opened.get_tensor(name))


def open_folder(folder: pathlib.Path) -> TensorFiles:
  """The tensors of a model.

  Raises:
    UserError: there are none, or as `TensorFiles`.
  """
  single, index = folder / SINGLE, folder / INDEX
  if single.exists():
    return open_file(single)
  if index.exists():
    shards = files.read_json(index, {'weight_map': dict})['weight_map']
    if not all(isinstance(name, str) and name == pathlib.PurePath(name).name for name in shards.values()):
      raise UserError(f'{index} is damaged (weight_map must name files beside it); download it again')
    return TensorFiles({tensor: folder / name for tensor, name in shards.items()}, index)
  if any((folder / name).exists() for name in _PICKLES):
    raise _pickled(folder / next(name for name in _PICKLES if (folder / name).exists()))
  parts = sorted(folder.glob('*.safetensors'))
  if parts:
    raise UserError(f'{folder} has {parts[0].name} but neither {SINGLE} nor {INDEX}; download that too')
  raise UserError(
    f'{folder} has no {SINGLE}; give the directory of a whole checkpoint, or if it is a model on the hub '
    f'that has only {_PICKLES[0]}, load and save it with transformers'
  )


def open_file(file: pathlib.Path) -> TensorFiles:
  """The tensors of one file.

  Raises:
    UserError: as `TensorFiles`.
  """
  return TensorFiles(dict.fromkeys(headers(file), file), file)


def headers(file: pathlib.Path) -> dict[str, Kind]:
  """The dtypes and shapes of the tensors in a file.

  Raises:
    UserError: the file is missing, damaged or a pickle.
  """

  def kinds(opened: Any) -> dict[str, Kind]:
    slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (it is no mapping)
    return {name: Kind(each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}

  return _opened(file, kinds)


def write(file: pathlib.Path, tensors: Iterable[tuple[str, Kind]], read: Callable[[str], np.ndarray]) -> None:
  """Writes a file, one tensor after another.

  Args:
    file: must be new.
    tensors: the names and kinds, in the order of the file.
    read: returns a tensor by its name.
  Raises:
    OSError: the file system refuses it.
  """
  # Readers of the ecosystem refuse files that do not name a format; 'pt' is what they write themselves.
  header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
  end = 0
  for name, kind in tensors:
    start, end = end, end + math.prod(kind.shape) * _DTYPES[kind.dtype].itemsize
    header[name] = {'dtype': kind.dtype, 'shape': list(kind.shape), 'data_offsets': [start, end]}
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % 8)  # The tensors are aligned.
  with file.open('xb') as out:
    out.write(len(text).to_bytes(8, 'little') + text)
    for name, about in header.items():
      if name != '__metadata__':
        tensor = np.asarray(read(name), _DTYPES[about['dtype']], order='C')
        assert tensor.shape == tuple(about['shape'])
        out.write(tensor.reshape(-1).view(np.uint8).data)


def kind_of(array: Any) -> Kind:
  """The kind of an array, for `write`."""
  names = {dtype: name for name, dtype in _DTYPES.items()}
  return Kind(names[np.dtype(array.dtype)], tuple(array.shape))


def _opened(file: pathlib.Path, use: Callable[[Any], Any]) -> Any:
  """The result of `use` with the opened file."""
  import safetensors

  try:
    paths.require_regular(file)
    with safetensors.safe_open(file, framework='np') as opened:
      return use(opened)
  except OSError as error:
    raise UserError(f'cannot read {file}: {error.strerror or error}; download it again') from None
  except safetensors.SafetensorError as error:
    with file.open('rb') as damaged:  # Not before: a header of 640 bytes starts as some pickles do.
      if damaged.read(4).startswith(_PICKLE_STARTS):
        raise _pickled(file) from None
    raise UserError(f'{file} is damaged ({error}); download it again') from None


def _pickled(file: pathlib.Path) -> UserError:
  """The error for a file of torch.save: to read it is to run the program in it."""
  folder = file.parent
  return UserError(
    f'{file} is a pickle, which can run any program when it is read; if you trust it, convert it, where '
    f"torch and transformers are installed: python -c 'from transformers import AutoModelForCausalLM as M; "
    f'M.from_pretrained("{folder}").save_pretrained("{folder}")\''
  )
