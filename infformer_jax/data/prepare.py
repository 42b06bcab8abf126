"""Prepares a corpus for random access: from the layout of PG-19's bucket to ArrayRecord, without TensorFlow.

    python -m infformer_jax.data.prepare pg19 --source_dir=COPY --data_dir=~/tensorflow_datasets

COPY is a copy of gs://deepmind-gutenberg: train|validation|test/ID.txt and metadata.csv. The result is the
dataset `pg19` of TFDS: `data.kind = 'pg19'` reads it, and so does `tfds.data_source`. It is written
atomically: if a run is killed, start it again.
"""

import argparse
import contextlib
import io
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from infformer_jax import files
from infformer_jax.data import pg19
from infformer_jax.errors import UserError, check_local


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise UserError(f'{message} (see --help)')


def _path(options: argparse.Namespace, name: str) -> pathlib.Path:
  check_local(f'--{name}', getattr(options, name))
  return pathlib.Path(getattr(options, name)).expanduser()


def prepare_pg19(source_dir: pathlib.Path, data_dir: pathlib.Path, *, overwrite: bool) -> pathlib.Path:
  """Writes data_dir/pg19/VERSION and returns it.

  Raises:
    UserError: the source is incomplete, the result exists already, or the file system refuses it.
  """
  target = data_dir / 'pg19' / pg19.VERSION
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.lock(target.parent / 'lock', wait=True):
      if target.exists() and not overwrite:
        raise UserError(f'{target} exists already; use --overwrite to replace it')
      files.remove_partial(target)
      with files.write_atomically(target) as partial:
        builder = pg19.builder(source_dir, partial)
        with contextlib.redirect_stdout(
          io.StringIO()
        ):  # TFDS prints messages about downloads and temporary paths.
          builder.download_and_prepare()
        for file in pathlib.Path(builder.data_dir).iterdir():
          file.rename(partial / file.name)
        shutil.rmtree(partial / 'pg19')
  except OSError as error:
    raise UserError(f'--data_dir = {data_dir} must be writable: {error.strerror or error}') from None
  return target


def main(arguments: Sequence[str] | None = None) -> int:
  """The command line; returns its exit status."""
  parser = _Parser(prog='python -m infformer_jax.data.prepare', description=__doc__.split('\n', 1)[0])
  parser.add_argument('corpus', choices=['pg19'])
  parser.add_argument('--source_dir', required=True, help='a copy of gs://deepmind-gutenberg')
  parser.add_argument('--data_dir', required=True, help='the directory of TFDS datasets')
  parser.add_argument('--overwrite', action='store_true', help='replace an existing result')
  try:
    options = parser.parse_args(arguments)
    source_dir, data_dir = _path(options, 'source_dir'), _path(options, 'data_dir')
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
