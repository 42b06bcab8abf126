"""Prepares a corpus for random access: from the layout of PG-19's bucket to ArrayRecord, without TensorFlow.

    python -m infformer_jax.data.prepare pg19 --source_dir=COPY --data_dir=~/tensorflow_datasets

COPY is a copy of gs://deepmind-gutenberg: train|validation|test/ID.txt and metadata.csv. The result is what
TFDS calls `pg19`: `data.kind = 'pg19'` reads it, and so does `tfds.data_source`. It is made beside its place
and moved there when it is complete: a run that was killed leaves nothing half, and is started again.
"""

import argparse
import contextlib
import io
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from infformer_jax.data import pg19
from infformer_jax.errors import UserError


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise UserError(f'{message} (see --help)')


def prepare_pg19(source_dir: pathlib.Path, data_dir: pathlib.Path, *, overwrite: bool) -> pathlib.Path:
  """Makes data_dir/pg19/VERSION and returns it.

  Raises:
    UserError: the source is not as it should be, the result exists already, or the disk refuses it.
  """
  target = data_dir / 'pg19' / pg19.VERSION
  if target.exists() and not overwrite:
    raise UserError(f'{target} is there already; give --overwrite to replace it.')
  partial = data_dir / 'pg19.partial'
  try:
    shutil.rmtree(partial, ignore_errors=True)  # Of a run that was killed.
    builder = pg19.builder(source_dir, partial)
    with contextlib.redirect_stdout(io.StringIO()):  # Of downloads and of `partial`.
      builder.download_and_prepare()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
      target.rename(partial / 'replaced')
    pathlib.Path(builder.data_dir).rename(target)
    shutil.rmtree(partial)
  except OSError as error:
    raise UserError(f'cannot write to {data_dir}: {error.strerror}.') from None
  return target


def main(arguments: Sequence[str] | None = None) -> int:
  """The command line; returns its exit status."""
  parser = _Parser(prog='python -m infformer_jax.data.prepare', description=__doc__.split('\n', 1)[0])
  parser.add_argument('corpus', choices=['pg19'])
  parser.add_argument(
    '--source_dir', required=True, type=pathlib.Path, help='a copy of gs://deepmind-gutenberg'
  )
  parser.add_argument('--data_dir', required=True, type=pathlib.Path, help='where TFDS keeps its datasets')
  parser.add_argument('--overwrite', action='store_true', help='replace what is there')
  try:
    options = parser.parse_args(arguments)
    source_dir, data_dir = options.source_dir.expanduser(), options.data_dir.expanduser()
    print(f'prepared {prepare_pg19(source_dir, data_dir, overwrite=options.overwrite)}')
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    return 130
  return 0


if __name__ == '__main__':
  sys.exit(main())
