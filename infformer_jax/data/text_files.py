"""Files of UTF-8 text, which may be compressed."""

import contextlib
import errno
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from etils import epath

from infformer_jax import paths
from infformer_jax.errors import UserError

BOM = '\ufeff'  # A byte order mark at the start of a file is not part of its text.


@contextlib.contextmanager
def open_bytes(path: os.PathLike[str]) -> Iterator[BinaryIO]:
  """Opens a file to read its bytes in order; files that end in .gz or .zst are decompressed.

  Raises:
    UserError: the file cannot be read or is damaged, also if this appears while the block reads it.
  """
  name = os.path.basename(path).lower()
  if name.endswith(('.tar.gz', '.tar.zst')):
    raise UserError(f'{path} is an archive; unpack it')
  try:
    if paths.is_local(path) and stat.S_ISCHR(os.stat(path).st_mode):  # It may have no end.
      raise OSError(errno.EINVAL, 'a device, not a file')
    with contextlib.ExitStack() as stack:
      stream: BinaryIO = stack.enter_context(cast(BinaryIO, epath.Path(path).open('rb')))
      if name.endswith('.gz'):
        stream = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=stream)))
      elif name.endswith('.zst'):
        import io

        import pyarrow

        raw = stack.enter_context(pyarrow.input_stream(stream, compression='zstd'))
        stream = cast(BinaryIO, io.BufferedReader(raw))
      yield stream
  except Exception as error:
    if not isinstance(error, (*paths.errors(), EOFError, zlib.error)):
      raise
    failed = isinstance(error, OSError) and paths.is_local(path) and not error.strerror  # To decompress it.
    if failed or isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
      problem = f'{path} is damaged ({error}); restore it, or remove it from the data'
    else:
      problem = f'cannot read {path}: {paths.reason(error)}; give a file that exists and is readable'
    raise paths.failure(error)(problem) from None


def read_utf8(path: os.PathLike[str]) -> str:
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
