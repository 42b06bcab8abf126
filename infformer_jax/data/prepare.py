"""Prepares a corpus for random access: from the layout of PG-19's bucket to ArrayRecord, without TensorFlow.

    python -m infformer_jax.data.prepare pg19 --source_dir=gs://deepmind-gutenberg --data_dir=DIR

The source is the public bucket, which needs no account, or a copy of it: train|validation|test/ID.txt and
metadata.csv. The result is the dataset `pg19` of TFDS: `data.kind = 'pg19'` reads it, and so does
`tfds.data_source`. It is written atomically. If the command is killed, start it again: books that are
complete are not copied from the bucket again.
"""

import argparse
import contextlib
import hashlib
import pathlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from etils import epath

from infformer_jax import files, objects, paths
from infformer_jax.console import tracked
from infformer_jax.data import pg19
from infformer_jax.data.folders import Copies
from infformer_jax.data.left_out import described
from infformer_jax.errors import UserError
from infformer_jax.lease import Held
from infformer_jax.lock import lock

_ABOUT = 'dataset_info.json'  # written last: a dataset without it is not complete
_BLOCK = 2**24  # bytes in memory while a file is copied to a bucket


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise UserError(f'{message} (see --help)')


def prepare_pg19(source_dir: epath.Path, data_dir: epath.Path, *, overwrite: bool) -> epath.Path:
  """Writes data_dir/pg19/VERSION and returns it.

  ArrayRecord cannot write to a bucket: for a `data_dir` in one, the dataset is written to the user's cache
  directory and then copied. One that a killed command has left there is not used: the source may have
  changed since, and it may be damaged.

  Raises:
    UserError: the source is incomplete, the result exists already, another process writes it, on this machine
      or another one, or a disk or bucket refuses it.
  """
  target = data_dir / 'pg19' / pg19.VERSION
  local, copies_key = pathlib.Path(target), '--data_dir'
  where, remedy = f'--data_dir = {data_dir}', 'correct this or use another --data_dir'
  local_where, local_remedy = where, remedy
  if not paths.is_local(target):
    place = hashlib.sha256(str(target).encode()).hexdigest()[:16]
    local, copies_key = paths.user_cache() / 'prepared' / place / pg19.VERSION, '$XDG_CACHE_HOME or ~/.cache'
    local_where = f'{local.parent}, where the dataset is written before it is copied to {data_dir},'
    local_remedy = 'correct this or set XDG_CACHE_HOME to another directory'
  try:
    with _writable(where, remedy):
      if not paths.is_local(target):
        objects.may_see_bucket(target)  # Raises now, not after all books were copied, if it does not exist.
      with lock(target.parent / 'lock', say=lambda line: print(line, file=sys.stderr)):
        if (target if paths.is_local(target) else target / _ABOUT).exists() and not overwrite:
          raise UserError(f'{target} exists already; use --overwrite to replace it')
        copies = Copies(local.parent / 'books.partial', copies_key)
        try:
          with _writable(local_where, local_remedy):
            local.parent.mkdir(parents=True, exist_ok=True)
            _write(source_dir, local, copies)
          if not paths.is_local(target):
            _copy(local, target)
            shutil.rmtree(local)
          shutil.rmtree(copies.folder, ignore_errors=True)  # Not before: a killed command is started again.
        finally:
          with contextlib.suppress(OSError):
            local.parent.rmdir()  # Not if there is something with which the next command goes on.
  except Held as held:
    holder = f' ({held})' if str(held) else ''
    raise UserError(f'another process{holder} is writing {target}; wait until it ends') from None
  return target


@contextlib.contextmanager
def _writable(where: str, remedy: str) -> Iterator[None]:
  try:
    yield
  except paths.errors() as error:
    raise paths.failure(error)(f'{where} must be writable: {paths.reason(error)}; {remedy}') from None


def _write(source_dir: epath.Path, target: pathlib.Path, copies: Copies) -> None:
  key = f'--source_dir = {source_dir}'
  found = pg19.books(source_dir, workdir=None, key=key, copies=copies)
  if found.left_out:
    print(f'{source_dir}{described(found.left_out)}', file=sys.stderr)
  if pg19.METADATA not in found.files.stats:
    raise UserError(f'{key} has no {pg19.METADATA}; copy it from gs://deepmind-gutenberg')
  counts = {split: len(found.splits.get(split, ())) for split in pg19.NUM_BOOKS}
  if counts != pg19.NUM_BOOKS:
    print(f'warning: {key} has {_listed(counts)}; PG-19 has {_listed(pg19.NUM_BOOKS)}', file=sys.stderr)
  files.remove_partial(target)
  with files.write_atomically(target) as partial:
    pg19.write(found, partial)


def _listed(counts: dict[str, int]) -> str:
  """The numbers of books.

  >>> _listed({'train': 1234, 'test': 5})
  '1,234 books in train, 5 in test'
  """
  return ', '.join(f'{n:,} in {split}' for split, n in counts.items()).replace(' in', ' books in', 1)


def _copy(folder: pathlib.Path, target: epath.Path) -> None:
  """Copies a prepared dataset to a bucket, and removes what else is there."""
  names = sorted(path.name for path in folder.iterdir() if path.name != _ABOUT)
  (target / _ABOUT).unlink(missing_ok=True)
  for name in tracked([*names, _ABOUT], f'copying to {target}:', 'files'):
    with open(folder / name, 'rb') as file, (target / name).open('wb') as copy:
      while block := file.read(_BLOCK):
        copy.write(block)  # type: ignore[arg-type]
  for path in target.iterdir():
    if path.name not in {*names, _ABOUT}:
      path.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
  """The command line; returns its exit status."""
  parser = _Parser(prog='python -m infformer_jax.data.prepare', description=__doc__.split('\n', 1)[0])
  parser.add_argument('corpus', choices=['pg19'])
  parser.add_argument('--source_dir', required=True, help='gs://deepmind-gutenberg or a copy of it')
  parser.add_argument('--data_dir', required=True, help='the directory of TFDS datasets, also in a bucket')
  parser.add_argument('--overwrite', action='store_true', help='replace an existing result')
  try:
    options = parser.parse_args(arguments)
    source_dir, data_dir = (
      paths.parse(getattr(options, name), f'--{name}') for name in ('source_dir', 'data_dir')
    )
    print(f'prepared {prepare_pg19(source_dir, data_dir, overwrite=options.overwrite)}')
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return error.code
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    return 130
  return 0


if __name__ == '__main__':
  sys.exit(main())
