"""Files of many documents: JSON lines, which may be compressed, and Parquet."""

import contextlib
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from infformer_jax.data.text_files import BOM, open_bytes
from infformer_jax.errors import UserError

_PARQUET = '.parquet'
_SUFFIXES = ('.jsonl', '.jsonl.gz', '.jsonl.zst', _PARQUET)
_ROWS = 256  # rows of a Parquet file in memory at once


def is_records(name: str) -> bool:
  """Whether the name is that of a file with many documents."""
  return name.lower().endswith(_SUFFIXES)


def sizes(path: pathlib.Path) -> np.ndarray:
  """Bytes of every record, int64 [records]; in a Parquet file, their mean.

  Raises:
    UserError: the file cannot be read or is damaged.
  """
  if path.name.lower().endswith(_PARQUET):
    with _parquet(path) as file:
      groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
      total, count = sum(group.total_byte_size for group in groups), file.metadata.num_rows
      return np.full(count, total // max(count, 1), np.int64)
  return np.fromiter((len(line) for _, line in _lines(path)), np.int64)


def read(path: pathlib.Path, field: str, indices: Iterable[int]) -> Iterator[tuple[int, str]]:
  """Reads records in one pass through the file.

  Args:
    path: the file.
    field: the key of a JSON object, or the column, that is the text.
    indices: of the records, ascending.
  Yields:
    The number of the line (or row), from 1, and the text.
  Raises:
    UserError: the file cannot be read or is damaged, or a record has no such text; names the line.
  """
  is_parquet = path.name.lower().endswith(_PARQUET)
  records = enumerate(_rows(path, field) if is_parquet else _lines(path))
  for wanted in indices:
    number, content = next((record for index, record in records if index == wanted), (0, b''))
    if not number:
      raise UserError(f'{path} has become shorter while it was read; start again')
    text = content if is_parquet else _parsed(content, field, f'{path}, line {number}')
    if not isinstance(text, str):
      what = f"data.text_field = '{field}' of {path}, {'row' if is_parquet else 'line'} {number}"
      raise UserError(f'{what} must be a text, not {type(text).__name__}; correct or remove it')
    yield number, text


def _lines(path: pathlib.Path) -> Iterator[tuple[int, bytes]]:
  """The lines that are not blank, with their numbers from 1."""
  with open_bytes(path) as file:
    for number, line in enumerate(file, 1):
      line = line.removeprefix(BOM.encode()) if number == 1 else line
      if line.strip():
        yield number, line


def _parsed(line: bytes, field: str, place: str) -> Any:
  try:
    record = json.loads(line.decode())
  except UnicodeDecodeError as error:
    raise UserError(
      f'{place} is not UTF-8: invalid byte 0x{line[error.start]:02x} at offset {error.start} of the line; '
      'convert the file'
    ) from None
  except (ValueError, RecursionError) as error:
    raise UserError(f'{place} is not JSON ({error}); correct or remove the line') from None
  if not isinstance(record, dict):
    raise UserError(f'{place} must be a JSON object, not {type(record).__name__}; correct or remove the line')
  if field not in record:
    raise UserError(_missing(field, place, record))
  text = record[field]
  # JSON can hold half of a surrogate pair, which UTF-8 cannot.
  if isinstance(text, str) and not text.isascii():
    try:
      text.encode()
    except UnicodeEncodeError as error:
      raise UserError(
        f'{place} has {text[error.start]!r}, which is half of a character; correct or remove the line'
      ) from None
  return text


def _rows(path: pathlib.Path, field: str) -> Iterator[tuple[int, Any]]:
  """The values of a column, with the numbers of their rows from 1."""
  with _parquet(path) as file:
    if field not in file.schema_arrow.names:
      raise UserError(_missing(field, str(path), file.schema_arrow.names))
    number = 0
    for batch in file.iter_batches(_ROWS, columns=[field]):
      for value in batch.column(0).to_pylist():
        number += 1
        yield number, value


@contextlib.contextmanager
def _parquet(path: pathlib.Path) -> Iterator[Any]:
  import pyarrow
  from pyarrow import parquet

  try:
    with parquet.ParquetFile(path) as file:
      yield file
  except (OSError, ValueError, MemoryError, OverflowError, pyarrow.ArrowException) as error:
    raise UserError(f'{path} is damaged ({" ".join(str(error).split())}); restore or remove it') from None


def _missing(field: str, place: str, names: Iterable[str]) -> str:
  return f"data.text_field = '{field}' must be a key of {place} (allowed: {', '.join(names) or 'none'})"
