"""The logits of a pretrained model, for comparisons with other programs."""

import os

import jax
import numpy as np

from infformer_jax.errors import ConfigError
from infformer_jax.memory.none import NothingConfig
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.types import Array, Batch, PyTree

_ROUNDED_TO = 64  # tokens: programs are compiled for whole multiples


def logits(directory: str | os.PathLike[str], ids_bt: np.ndarray) -> Array:
  """The logits of a pretrained model without a memory, which reads each row as one text.

  All tokens see all tokens before them, or those of the checkpoint's sliding window. Nothing is added to the
  ids: those who want a BOS give it.

  Args:
    directory: of the checkpoint, as in hub.py.
    ids_bt: integers; rows may be of any length that the positions of the model allow.
  Returns:
    [b, t, v], float32, in full precision.
  Raises:
    ConfigError: the ids are not such an array.
    UserError: the directory has no model that the trunk can express; names the key or the file.
  """
  checkpoint, ids_bt = Checkpoint(directory), np.asarray(ids_bt)
  if ids_bt.ndim != 2 or not np.issubdtype(ids_bt.dtype, np.integer) or not ids_bt.size:
    raise ConfigError(f'ids must be integers of the shape [b, t], not {ids_bt.dtype}{list(ids_bt.shape)}')
  if ids_bt.min() < 0 or ids_bt.max() >= checkpoint.vocab_size:
    raise ConfigError(
      f'ids must be in [0, {checkpoint.vocab_size - 1}]; they are in [{ids_bt.min()}, {ids_bt.max()}]'
    )
  size, reach = ids_bt.shape[1], checkpoint.reach
  limit = checkpoint.keys.get('max_positions')
  if limit is not None and size > limit:
    raise ConfigError(f'ids have {size:,} tokens per row, but {checkpoint.folder} has {limit:,} positions')
  length = -(-size // _ROUNDED_TO) * _ROUNDED_TO
  length = length if limit is None else min(length, limit)
  short = 0
  if reach is not None and size > reach:
    length = short = reach
  model = checkpoint.model_config(segment_length=length, short_term_length=short, memory=NothingConfig())
  trained = checkpoint.load(model)

  @jax.jit
  def run(params: PyTree, batch: Batch) -> Array:
    model = trained.model(params)
    output = model(batch, model.init_state(len(ids_bt)))
    return model.vocabulary.logits(output.hidden_bsld)

  with jax.default_matmul_precision('highest'):
    logits_bslv = run(trained.params, _batch(ids_bt.astype(np.int32), length))
  return logits_bslv.reshape(len(ids_bt), -1, checkpoint.vocab_size)[:, :size]


def _batch(ids_bt: np.ndarray, length: int) -> Batch:
  """One document per row, padded to whole segments."""
  b, size = ids_bt.shape
  segments = -(-size // length)
  shape = (b, segments, length)
  tokens_bsl = np.pad(ids_bt, ((0, 0), (0, segments * length - size))).reshape(shape)
  ok_bsl = np.broadcast_to((np.arange(segments * length) < size).reshape(1, segments, length), shape)
  row_bs = np.broadcast_to(np.arange(segments, dtype=np.int32), shape[:2])
  return Batch(
    tokens_bsl=tokens_bsl,
    targets_bsl=tokens_bsl,
    ok_bsl=ok_bsl,
    group_bsl=np.where(ok_bsl, 0, -1).astype(np.int32),
    new_doc_bs=row_bs == 0,
    document_bs=np.broadcast_to(np.arange(b, dtype=np.int32)[:, None], shape[:2]),
    segment_bs=row_bs,
  )
