"""Where a new run gets its parameters from (`init_from`): another run, or a pretrained checkpoint."""

import abc
import dataclasses
import functools
import re
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from infformer_jax import files, hub
from infformer_jax.data import pretrained_tokenizer, tokenizers
from infformer_jax.data.base import DataConfig, Split
from infformer_jax.data.load import trained_tokenizer
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import position_drift, transformer, vocabulary
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.train import restore
from infformer_jax.train.checksum import described, digest
from infformer_jax.train.mesh import make_mesh
from infformer_jax.train.sharding import shardings
from infformer_jax.types import Array

_TEXTS = 64
"""In a small model of bytes of PG-19, 16, 64 and 1,024 texts gave 1.583, 1.586 and 1.587 nats per byte, and
after 100 steps of training 1.543, 1.538 and 1.536 (one run)."""

_AT_ONCE = 4  # texts


class Source(abc.ABC):
  """A directory with parameters and, usually, a tokenizer. Creating it reads nothing of either."""

  @abc.abstractmethod
  def require(self, model: ModelConfig) -> None:
    """Checks that the parameters of a model can be read. No array is read.

    Raises:
      UserError: they cannot.
    """

  @abc.abstractmethod
  def tokenizer(self, data: DataConfig) -> Tokenizer | None:
    """The tokenizer, which the data have too; None if it is not known. The data themselves are not read.

    Raises:
      UserError: the data have another one.
    """

  @abc.abstractmethod
  def another_tokenizer(self, workdir: epath.Path) -> UserError:
    """The error for a work directory whose trained tokenizer is not that of the parameters."""

  @abc.abstractmethod
  def parameters(
    self, model: ModelConfig, *, vocab_size: int, mesh: Mesh, say: Callable[[str], None]
  ) -> dict[str, Array]:
    """The parameters by name, 'params/...', on a mesh.

    Args:
      model: has all of them, with the same shapes; may have more.
      vocab_size: v.
      mesh: of the parameters.
      say: called with a line about the new parameters, and one about each damaged checkpoint.
    Raises:
      UserError: they cannot be read, or the model lacks some of them.
    """

  @abc.abstractmethod
  def sha256(self, model: ModelConfig) -> list[str]:
    """`restore.parameters_sha256` of what `parameters` returns, or can have returned before.

    Raises:
      UserError: nothing can be read.
    """


def source(text: str) -> Source:
  """The source that `init_from` names.

  Raises:
    ConfigError: it is neither a path nor a model on the hub.
    UserError: it cannot be downloaded, or is a directory that does not exist but may be a model on the hub.
  """
  folder = hub.directory(text, 'init_from')
  if re.fullmatch(r'\w[\w.-]*/\w[\w.-]*', text) and not folder.exists():
    raise UserError(
      f'init_from = {text} does not exist; for a model on the hub, use init_from = {hub.HUB}{text}'
    )
  return _Pretrained(folder) if _is_pretrained(folder) else _Run(folder, text)


def _is_pretrained(folder: epath.Path) -> bool:
  config = folder / 'config.json'
  if (folder / 'checkpoints').exists() or not config.exists():
    return False
  return 'model_type' in files.read_json(config)


class _Run(Source):
  """The work directory of another run."""

  def __init__(self, workdir: epath.Path, text: str):
    self._workdir, self._text = workdir, text

  def require(self, model: ModelConfig) -> None:
    self.sha256(model)

  def tokenizer(self, data: DataConfig) -> Tokenizer:
    try:
      return trained_tokenizer(data, self._workdir)
    except UserError as error:
      raise UserError(f'init_from = {self._text}: {error}') from None

  def another_tokenizer(self, workdir: epath.Path) -> UserError:
    return UserError(
      f'init_from = {self._workdir} was trained with another tokenizer of the same name; '
      f'copy {self._workdir / "bpe_*.json"} into {workdir} before the first run'
    )

  def parameters(
    self, model: ModelConfig, *, vocab_size: int, mesh: Mesh, say: Callable[[str], None]
  ) -> dict[str, Array]:
    return restore.initial_parameters(self._workdir, model, vocab_size=vocab_size, mesh=mesh, say=say)

  def sha256(self, model: ModelConfig) -> list[str]:
    return restore.saved_sha256(self._workdir)


class _Pretrained(Source):
  """A pretrained checkpoint, also one that `infformer_jax.export` has written.

  Its hash is that of the parameters as the model has them: the same for another number or dtype of files.
  """

  def __init__(self, folder: epath.Path):
    self._folder = folder

  @functools.cached_property
  def _checkpoint(self) -> Checkpoint:
    return Checkpoint(self._folder, 'init_from')

  def require(self, model: ModelConfig) -> None:
    self._checkpoint.require_fit(model, self._checkpoint.vocab_size)

  def tokenizer(self, data: DataConfig) -> Tokenizer | None:
    if not pretrained_tokenizer.exists(self._folder):
      return None
    own = tokenizers.from_spec(f'pretrained:{self._folder}', self._folder, _never)
    if not data.tokenizer.startswith('pretrained:'):
      raise ConfigError(
        f"data.tokenizer = '{data.tokenizer}' must be that of the model in init_from = {self._folder}; "
        f'use --config.data.tokenizer=pretrained:{self._folder}'
      )
    return own

  def another_tokenizer(self, workdir: epath.Path) -> UserError:
    return UserError(
      f'init_from = {self._folder} has another tokenizer than the data; '
      f'use --config.data.tokenizer=pretrained:{self._folder}'
    )

  def parameters(
    self, model: ModelConfig, *, vocab_size: int, mesh: Mesh, say: Callable[[str], None]
  ) -> dict[str, Array]:
    self._checkpoint.require_fit(model, vocab_size)
    given = dict(self._checkpoint.parameters(model, mesh))
    say(
      f'starting from the parameters of {self._folder} ({self._checkpoint.architecture.model_type}); '
      f'{restore.new_parameters(model, vocab_size, given)}'
    )
    return given

  def sha256(self, model: ModelConfig) -> list[str]:
    """One array exists at a time."""
    self.require(model)
    arrays = self._checkpoint.parameters(model, make_mesh())
    return [digest({key: text for name, array in arrays for key, text in described({name: array}).items()})]


def _never(num_ids: int) -> str:
  raise AssertionError(f'a pretrained tokenizer is not trained, with {num_ids} ids')


def with_position_drift(
  given: Mapping[str, Array], model: ModelConfig, documents: Split, mesh: Mesh, say: Callable[[str], None]
) -> dict[str, Array]:
  """The parameters of a source, with those of nn/position_drift.py measured where they are missing.

  Args:
    given: of `Source.parameters`.
    model: the config of the run.
    documents: of its training; their first tokens are the texts.
    mesh: of the parameters.
    say: called with a line about what is measured.
  """
  given, missing = dict(given), position_drift.missing(model, given)
  if not missing:
    return given
  size = model.short_term_length + model.segment_length
  tokens = np.resize(_first_tokens(documents, _TEXTS * size), _TEXTS * size)
  say(f'measuring the drift of learned positions on {_TEXTS} texts of {size:,} tokens')
  trunk = dataclasses.replace(model, memory=NothingConfig())
  build = functools.partial(transformer.build, trunk, given[f'params/{vocabulary.SIZE_FROM}'].shape[0])
  graphdef, params = jax.eval_shape(build, jax.random.key(0))

  def measure(given: Mapping[str, Array], texts: Array) -> dict[str, Array]:
    filled = restore.replaced(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params), given)
    drifts = jax.lax.map(
      functools.partial(position_drift.measure, transformer.merge(graphdef, filled)), texts
    )
    return {name: drifts[i].mean(axis=0) for i, name in missing.items()}

  texts = tokens.reshape(-1, _AT_ONCE, size)
  places = shardings(jax.eval_shape(measure, given, texts), mesh)
  return given | jax.jit(measure, out_shardings=places)(given, texts)


def _first_tokens(split: Split, count: int) -> np.ndarray:
  """The first tokens of the documents one after another, at most `count`."""
  tokens, read = [], 0
  for index in range(len(split)):
    tokens.append(split.tokens(index, 0, count - read))
    read += len(tokens[-1])
    if read == count:
      break
  return np.concatenate(tokens)
