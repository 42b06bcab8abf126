"""A trained model as a directory that the ecosystem reads, with its memory in files of its own."""

import os
import pathlib

from infformer_jax import files, paths
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.nn import vocabulary
from infformer_jax.pretrained import memory_files, registry, tensor_files, weights
from infformer_jax.pretrained.settings import FILE, Settings
from infformer_jax.train.checkpoint import named_arrays
from infformer_jax.trained_model import TrainedModel

_KEPT = (
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  'max_position_embeddings',
  'attention_dropout',
  'attn_pdrop',
  'embd_pdrop',
  'resid_pdrop',
)
"""Keys of config.json that a `ModelConfig` does not determine, and that those who load the model may use."""


def require_new(out: str | os.PathLike[str], key: str) -> pathlib.Path:
  """The path of a local directory that does not exist yet, or is empty.

  Raises:
    ConfigError: it is in a bucket.
    UserError: it has files, which are never replaced.
  """
  folder = paths.parse(os.fspath(out), key)
  if not paths.is_local(folder):
    raise ConfigError(f'{key} = {folder} must be a local path; copy the directory into the bucket afterwards')
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(f'{key} = {folder} has files already, which are not replaced; use a new directory')
  return pathlib.Path(folder)


def save(
  trained: TrainedModel,
  out: str | os.PathLike[str],
  tokenizer: Tokenizer | None = None,
  *,
  like: Settings | None = None,
  key: str = 'out',
) -> pathlib.Path:
  """Writes config.json, model.safetensors, files of the tokenizer, and those of the memory if there is one.

  The directory appears when it is complete. transformers loads it as the model without its memory;
  `Checkpoint(out).load()` and `init_from` restore both, bit for bit.

  Args:
    trained: of an architecture in registry.py.
    out: a new or empty local directory.
    tokenizer: that of the model; None: no files of a tokenizer.
    like: the config.json of the pretrained model from which this one comes; some of its keys are kept.
    key: the flag that names `out`, for errors.
  Returns:
    The directory.
  Raises:
    ConfigError: no architecture has such a trunk; names the key of ModelConfig.
    UserError: `out` has files, or cannot be written.
  """
  folder, model = require_new(out, key), trained.config
  architecture = registry.architecture_for(model)
  arrays = named_arrays({'params': trained.params})
  params = {name.removeprefix('params/'): array for name, array in arrays.items()}
  kinds, read = weights.tensors(list(architecture.rows(model)), params)
  config = {
    'architectures': [architecture.class_name],
    'model_type': architecture.model_type,
    'vocab_size': params[vocabulary.SIZE_FROM].shape[0],
    'torch_dtype': model.param_dtype,
    'bos_token_id': tokenizer and tokenizer.bos_id,
    'eos_token_id': None,
    **{name: like.get(name) for name in _KEPT if like is not None and name in like},
    **architecture.settings(model),
  }
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.write_atomically(folder) as partial:
      partial.mkdir()
      tensor_files.write(partial / tensor_files.SINGLE, kinds, read)
      if model.memory.kind != 'none':
        of_memory = {name: array for name, array in params.items() if memory_files.is_of_memory(name)}
        memory_files.write(partial, model, of_memory)
      for name, content in (tokenizer.files if tokenizer else {}).items():
        (partial / name).write_bytes(content)
      files.write_json(partial / FILE, config)
  except OSError as error:
    raise UserError(f'cannot write {key} = {folder}: {paths.reason(error)}') from None
  return folder
