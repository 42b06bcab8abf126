"""A pretrained checkpoint: its config as a `ModelConfig`, and its tensors as parameters on a mesh."""

import functools
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from infformer_jax import hub, paths
from infformer_jax.data import folders
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import position_drift, transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained import memory_files, registry, tensor_files, weights
from infformer_jax.pretrained.architecture import differences, keys
from infformer_jax.pretrained.settings import FILE, Settings
from infformer_jax.pretrained.tensor_files import Kind, TensorFiles
from infformer_jax.train import restore
from infformer_jax.train.checksum import kind
from infformer_jax.train.mesh import make_mesh
from infformer_jax.train.sharding import shardings
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Array


class Checkpoint:
  """A directory with config.json and safetensors; the tensors are read when they are asked for.

  If `infformer_jax.export` wrote it, it may have a memory too (memory_files.py).

  Attributes:
    folder: the directory.
    settings: its config.json.
    architecture: that of `model_type`.
    keys: the keys of ModelConfig that config.json determines.
    vocab_size: the rows of its embedding, which may be more than its tokenizer has ids.
  """

  def __init__(self, directory: str | os.PathLike[str], key: str = 'directory'):
    """Reads config.json.

    Args:
      directory: as in hub.py.
      key: the config key or flag that names it, for errors.
    Raises:
      UserError: there is no config.json, or the trunk has no such model; names the key of config.json.
    """
    self.folder, self._key = hub.directory(os.fspath(directory), key), key
    if not (self.folder / FILE).exists():
      raise UserError(f'{key} = {self.folder} has no {FILE}; give the directory of a whole checkpoint')
    self.settings = Settings.read(self.folder)
    self.architecture = registry.architecture_of(self.settings)
    self.keys = keys(self.architecture, self.settings)
    self.reach = self.architecture.reach(self.settings)
    self.vocab_size = self.settings.integer('vocab_size')

  def model_config(
    self,
    *,
    segment_length: int | None = None,
    short_term_length: int | None = None,
    memory: MemoryConfig | None = None,
    **others: Any,
  ) -> ModelConfig:
    """The config of a model with these parameters.

    Args:
      segment_length, short_term_length: of ModelConfig; None: as in memory.json.
      memory: None: as in memory.json, or none.
      others: more keys of architecture.USERS_CHOICE. `window` is 'sliding' by default if the checkpoint's
        is; it equals the checkpoint's if short_term_length is `reach`.
    Raises:
      ConfigError: a value is not possible, or missing where there is no memory.json.
    """
    given = {'segment_length': segment_length, 'short_term_length': short_term_length, 'memory': memory}
    chosen = memory_files.read_keys(self.folder)
    chosen |= {key: value for key, value in given.items() if value is not None} | others
    for key in ('segment_length', 'short_term_length'):
      if key not in chosen:
        raise ConfigError(f'{key} must be given, because {self.folder} has no {memory_files.CONFIG}')
    slides = self.reach is not None and chosen['short_term_length'] > 0
    usual = {'memory': NothingConfig(), 'window': 'sliding' if slides else 'block'}
    return ModelConfig(**(self.keys | usual | chosen))

  def load(
    self,
    model: ModelConfig | None = None,
    *,
    mesh: Mesh | None = None,
    warn: Callable[[str], None] = warnings.warn,
  ) -> TrainedModel:
    """The model with the parameters of the checkpoint; others, of a new memory, are drawn with seed 0.

    Args:
      model: its config; None: as in memory.json.
      mesh: where the parameters go; None: all devices.
      warn: takes the line about learned positions whose drift is not in the checkpoint (nn/window.py).
    Raises:
      UserError: as `require_fit` and `parameters`.
    """
    model = self.model_config() if model is None else model
    mesh = make_mesh() if mesh is None else mesh
    self.require_fit(model, self.vocab_size)
    build = functools.partial(transformer.build, model, self.vocab_size)
    graphdef, params = jax.eval_shape(build, jax.random.key(0))
    given = dict(self.parameters(model, mesh))
    if position_drift.missing(model, given):
      warn(
        f'{self.folder} has no drift of its learned positions for short_term_length = '
        f'{model.short_term_length}, and a drift of 0 is worse than short_term_length = 0: set '
        'position_drift_td of every block to what infformer_jax.nn.position_drift.measure returns'
      )
    if given.keys() != self._abstract(model).keys():
      params = jax.device_put(build(jax.random.key(0))[1], shardings({'params': params}, mesh)['params'])
    return TrainedModel(graphdef=graphdef, params=restore.replaced(params, given), mesh=mesh, step=0)

  def require_fit(self, model: ModelConfig, vocab_size: int) -> None:
    """Checks that a model has the parameters of the checkpoint; it may have more. No tensor is read.

    Args:
      model: its config; one without a memory does not get that of the checkpoint.
      vocab_size: v, of the data's tokenizer.
    Raises:
      UserError: it has not; names the keys of its config. Or files and tensors are missing or damaged.
    """
    wrong = [
      f'model.{key} = {own!r}, the checkpoint has {theirs!r}'
      for key, own, theirs in differences(model, self.keys)
    ]
    if vocab_size != self.vocab_size:
      wrong.append(f'data.tokenizer has {vocab_size:,} ids, the checkpoint has {self.vocab_size:,}')
    for name, about in {} if wrong else self._of_memory(model).items():
      own = self._abstract(model).get(f'params/{name}')
      if own is None or own.shape != about.shape:
        found = 'missing' if own is None else kind(own)
        wrong.append(
          f'{name} is {about} in {memory_files.TENSORS}, {found} in the model; set model.memory as in '
          f'{memory_files.CONFIG}, or use a copy of the directory without both files for a new memory'
        )
        break
    if wrong:
      raise UserError(f'{self._key} = {self.folder} does not fit the config: {"; ".join(wrong)}')
    weights.table(self._tensors, self.architecture, model, self._shapes(model))

  def parameters(self, model: ModelConfig, mesh: Mesh) -> Iterator[tuple[str, Array]]:
    """Yields the parameters by name, 'params/...', on the mesh; one tensor is read at a time.

    Args:
      model: fits (`require_fit`).
      mesh: of the parameters.
    Raises:
      UserError: a tensor cannot be read.
    """
    places, shapes = shardings(self._abstract(model), mesh), self._shapes(model)
    rows = weights.table(self._tensors, self.architecture, model, shapes)
    scales = self.architecture.scales(self.settings, model)

    def put(name: str, array: np.ndarray) -> tuple[str, Array]:
      place = places[f'params/{name}']
      return f'params/{name}', jax.make_array_from_callback(array.shape, place, lambda index: array[index])

    for name, array in weights.parameters(self._tensors, rows, shapes, scales, model.param_dtype):
      yield put(name, array)
    for name in self._of_memory(model):
      assert self._memory is not None  # It has this tensor.
      yield put(name, self._memory.read(name).astype(model.param_dtype))

  def _abstract(self, model: ModelConfig) -> Mapping[str, Any]:
    return restore.abstract_parameters(model, self.vocab_size)

  def _shapes(self, model: ModelConfig) -> Mapping[str, tuple[int, ...]]:
    return {name.removeprefix('params/'): leaf.shape for name, leaf in self._abstract(model).items()}

  @functools.cached_property
  def _tensors(self) -> TensorFiles:
    return tensor_files.open_folder(self._local)

  def _of_memory(self, model: ModelConfig) -> Mapping[str, Kind]:
    """The tensors that a model gets of the memory: none without one, and a drift only for its own window."""
    if model.memory.kind == 'none' or self._memory is None:
      return {}
    trained = memory_files.read_keys(self.folder)
    same = all(getattr(model, key) == trained.get(key) for key in ('segment_length', 'short_term_length'))
    kinds = self._memory.kinds
    return {name: about for name, about in kinds.items() if same or not position_drift.is_drift(name)}

  @functools.cached_property
  def _memory(self) -> TensorFiles | None:
    return memory_files.open_tensors(self._local)

  @functools.cached_property
  def _local(self) -> pathlib.Path:
    """The directory; if it is in a bucket, a copy of its files on a local disk."""
    if paths.is_local(self.folder):
      return pathlib.Path(self.folder)
    copies = folders.Copies(paths.user_cache() / 'copies', 'the cache directory')
    found = folders.flat(self.folder, f'{self._key} = {self.folder}', copies)
    return found.local([name for name in found.stats if name.endswith(('.safetensors', '.json'))])
