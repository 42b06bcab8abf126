"""The schema of what the programs of this package write for each other, with one reader and one writer.

W/inspection, and W/inspection_NAME of an evaluation, hold an `Inspection`: evaluation/inspection.py writes
it, plotting/ reads it. The arrays are in arrays.npz; about.json has everything else, and the names of the
arrays in place of the arrays.

Letters: t tokens of the document, s its segments, h heads, j equal bins of [0, 1], a age in tokens,
e their j + 1 edges, m moments, n basis functions, p values written.
"""

import dataclasses
import io
import json
import types
import typing
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from infformer_jax import paths
from infformer_jax.errors import UserError
from infformer_jax.files import write_bytes, write_json

ABOUT = 'about.json'
ARRAYS = 'arrays.npz'
_UNREADABLE = (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RecursionError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharesRecord:
  """How much of a memory with sticky sampling each token holds, at some moments."""

  moment_m: np.ndarray  # the number of tokens written at each moment
  share_mt: np.ndarray  # the share of [0, 1]
  even_share_mt: np.ndarray  # the same if the memory had been sampled evenly


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinuousRecord:
  """One continuous memory."""

  density_shj: np.ndarray  # mean over the tokens of a segment; 1 is uniform; NaN while the memory is empty
  # Ages of the tokens at the edges of the bins when a segment is read: 0 is the newest in the memory, NaN:
  # nothing is there. A sticky memory moves tokens along its time axis.
  age_se: np.ndarray
  histogram_sj: np.ndarray | None  # attention by bins, not normalized, NaN while empty; None: even sampling
  held_th: np.ndarray | None  # the token where each head reads, -1: none; None: nothing was written
  shares: SharesRecord | None  # None: even sampling, or nothing was written


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeighboursRecord:
  """One memory that retrieves its nearest neighbours."""

  retrieved_a: np.ndarray  # how often each age was retrieved, over all heads and real queries
  expected_a: np.ndarray  # the same if as many slots were drawn evenly from all that are stored
  held_th: np.ndarray  # the token that is most similar to each query, -1: none


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocumentRecord:
  """One document as the model reads it.

  Memories are named by their layer and place in a stack, such as 'layer 0, first'.
  """

  counts_t: np.ndarray  # bool; False: this token is not part of the loss
  nll_t: np.ndarray  # nats
  emptied_nll_t: np.ndarray | None  # the same with an empty long-term memory; None: the model has none
  continuous: dict[str, ContinuousRecord]
  neighbours: dict[str, NeighboursRecord]

  @property
  def held_th(self) -> dict[str, np.ndarray]:
    """The token of the past that each head read when it predicted token t, by memory; -1: none."""
    of_memories = {name: memory.held_th for name, memory in self.continuous.items()}
    of_memories |= {name: memory.held_th for name, memory in self.neighbours.items()}
    return {name: held_th for name, held_th in of_memories.items() if held_th is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionRecord:
  """A signal that was written to a continuous memory, and its reconstruction."""

  num_writes: int
  times_p: np.ndarray  # the positions of the values in [0, 1] after the last write
  values_p: np.ndarray
  signal_t: np.ndarray  # the memory's signal, on `SignalRecord.times_t`


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignalRecord:
  """The basis of a continuous memory. Here t is a grid over [0, 1], finer than the narrowest function."""

  times_t: np.ndarray
  age_t: np.ndarray  # tokens, after `age_writes` writes
  age_writes: int | None  # None: the ages are the same after any number of writes
  basis_tn: np.ndarray
  reconstructions: tuple[ReconstructionRecord, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
  """A model and one document of a split."""

  step: int  # the number of training steps
  split: str
  document: int  # its index in the split
  segment_length: int
  memory: dict[str, Any]  # the config of the memory
  text_sha256: str  # equal for the same tokens of the same tokenizer
  pieces: tuple[str, ...]  # the text of the document, token by token
  record: DocumentRecord
  signals: dict[str, SignalRecord]  # by place in a stack, '' if there is no stack

  def save(self, folder: epath.Path) -> None:
    """Writes both files, each of them atomically; the folder is created if necessary."""
    arrays: dict[str, Any] = {}
    about = _split(self, '', arrays)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    write_bytes(folder / ARRAYS, file.getvalue())
    write_json(folder / ABOUT, about)

  @classmethod
  def load(cls, folder: epath.Path) -> 'Inspection':
    """Reads both files.

    Raises:
      UserError: a file is missing or damaged, or has other fields than this version of the package writes.
    """
    try:
      file = folder / ABOUT
      about = json.loads(paths.read_bytes(file))
      file = folder / ARRAYS
      with np.load(io.BytesIO(paths.read_bytes(file))) as stored:
        arrays = {name: stored[name] for name in stored.files}
    except _UNREADABLE + paths.errors() as error:
      problem = 'is missing' if isinstance(error, FileNotFoundError) else f'is damaged ({error})'
      raise UserError(f'{file} {problem}; {_remedy(folder)}') from None
    try:
      inspection = _joined(cls, about, '', arrays)
    except _Mismatch as mismatch:
      raise UserError(f'{folder / ABOUT}: {mismatch}; {_remedy(folder)}') from None
    if arrays:
      raise UserError(f'{folder / ARRAYS}: unknown array {next(iter(arrays))!r}; {_remedy(folder)}')
    return inspection


class _Mismatch(Exception):
  """A difference between a file and the schema."""


def _remedy(folder: epath.Path) -> str:
  name = folder.name.partition('_')[2]
  flags = f'--workdir={folder.parent}' + (f' --mode=eval --name={name}' if name else '')
  return f"to write it again, run 'python -m infformer_jax.main {flags}' with the other flags of that run"


def _split(value: Any, path: str, arrays: dict[str, Any]) -> Any:
  """The value as JSON, with the names of its arrays in place of the arrays, which are put into `arrays`."""
  if isinstance(value, np.ndarray):
    arrays[path] = value
    return path
  if dataclasses.is_dataclass(value):
    value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
  below = f'{path}/' if path else ''
  if isinstance(value, Mapping):
    return {key: _split(item, f'{below}{key}', arrays) for key, item in value.items()}
  if isinstance(value, tuple):
    return [_split(item, f'{below}{index}', arrays) for index, item in enumerate(value)]
  return value


def _joined(hint: Any, content: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
  """The value of type `hint` of which `_split` made `content`; its arrays are removed from `arrays`."""
  if isinstance(hint, types.UnionType):  # X | None
    return None if content is None else _joined(typing.get_args(hint)[0], content, path, arrays)
  kind = typing.get_origin(hint) or hint
  stored = {np.ndarray: str, tuple: list}.get(kind, dict if dataclasses.is_dataclass(kind) else kind)
  if hint is not Any and not isinstance(content, stored):
    raise _Mismatch(f'{path or "its content"} = {content!r:.40} must be of type {stored.__name__}')
  if kind is np.ndarray:
    if content not in arrays:
      raise _Mismatch(f'{path} = {content!r} must be the name of an array in {ARRAYS}')
    return arrays.pop(content)
  below = f'{path}/' if path else ''
  if dataclasses.is_dataclass(kind):
    hints = typing.get_type_hints(kind)
    for what, names in (('no field', hints.keys() - content), ('unknown field', content.keys() - hints)):
      if names:
        raise _Mismatch(f'{what} {below + min(names)!r}')
    fields = {name: _joined(inner, content[name], f'{below}{name}', arrays) for name, inner in hints.items()}
    return hint(**fields)
  if kind is dict:
    inner = typing.get_args(hint)[1]
    return {key: _joined(inner, item, f'{below}{key}', arrays) for key, item in content.items()}
  if kind is tuple:
    inner = typing.get_args(hint)[0]
    return tuple(_joined(inner, item, f'{below}{index}', arrays) for index, item in enumerate(content))
  return content
