"""Files of UTF-8 text, which may be compressed."""

import contextlib
import gzip
import pathlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from infformer_jax.errors import UserError

BOM = '\ufeff'  # A byte order mark at the start of a file is not part of its text.


@contextlib.contextmanager
def open_bytes(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Opens a file to read its bytes in order; files that end in .gz or .zst are decompressed.

  Raises:
    UserError: the file cannot be read or is damaged, also if this appears while the block reads it.
  """
  name = path.name.lower()
  if name.endswith(('.tar.gz', '.tar.zst')):
    raise UserError(f'{path} is an archive; unpack it')
  try:
    with contextlib.ExitStack() as stack:
      stream: BinaryIO = stack.enter_context(open(path, 'rb'))
      if name.endswith('.gz'):
        stream = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=stream)))
      elif name.endswith('.zst'):
        import io

        import pyarrow

        raw = stack.enter_context(pyarrow.input_stream(stream, compression='zstd'))
        stream = cast(BinaryIO, io.BufferedReader(raw))
      yield stream
  except (OSError, EOFError, zlib.error) as error:
    if isinstance(error, OSError) and error.strerror:
      problem = f'cannot read {path}: {error.strerror}; give a file that exists and is readable'
    else:  # The decompression failed.
      problem = f'{path} is damaged ({error}); restore it, or remove it from the data'
    raise UserError(problem) from None


def read_utf8(path: pathlib.Path) -> str:
  """The text of a file, line ends unchanged, without a byte order mark at its start.

  Raises:
    UserError: the file cannot be read, is damaged, or is not UTF-8; names it and the offset of the first
      invalid byte.
  """
  with open_bytes(path) as file:
    return decode_utf8(file.read(), str(path))


def decode_utf8(content: bytes, name: str) -> str:
  """The text of the content of a file, line ends unchanged, without a byte order mark at its start.

  Raises:
    UserError: it is not UTF-8; has the `name` of the file and the offset of the first invalid byte.
  """
  try:
    return content.decode().removeprefix(BOM)
  except UnicodeDecodeError as error:
    raise UserError(
      f'{name} is not UTF-8: invalid byte 0x{content[error.start]:02x} at offset {error.start}; '
      'convert the file'
    ) from None
