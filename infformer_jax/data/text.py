"""Text files: a directory or a glob, each file a document."""

import dataclasses
import pathlib

from infformer_jax.data import files
from infformer_jax.data.base import DataConfig
from infformer_jax.errors import UserError

_VALIDATION_SHARE = 20  # Without folders, one file in so many, and at least one.


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig(DataConfig):
  """UTF-8 files.

  The folders train, validation and test say which file is which. Where there are none of them, the files are
  ordered by the hash of their path relative to the directory (of a glob: to the part before its first
  wildcard), the first twentieth is 'validation', and the rest is 'train'.
  """

  kind: str = 'text'
  source_dir: str  # a directory, with the folders in it, or a glob such as 'books/**/*.txt'


def source(config: TextConfig) -> files.Divided:
  """Finds the files.

  Raises:
    UserError: there are none, or a single one, which cannot be divided.
  """
  root, paths = files.find(config.source_dir)
  chosen = {
    name: [path for path in paths if path.relative_to(root).parent.parts[:1] == (name,)]
    for name in files.SPLITS
  }
  if not any(chosen.values()):
    chosen = _by_hash(root, paths, config.source_dir)
  documents = {name: files.Files(root, own) for name, own in chosen.items() if own}
  return files.Divided(documents=documents, facts={'source_dir': config.source_dir})


def _by_hash(root: pathlib.Path, paths: list[pathlib.Path], source_dir: str) -> dict[str, list[pathlib.Path]]:
  if len(paths) < 2:
    raise UserError(
      f"data.source_dir = '{source_dir}' has a single file, which cannot be both trained and validated on; "
      'give more, or put it into a folder train, validation or test.'
    )
  order = sorted(paths, key=lambda path: files.rank(path.relative_to(root).as_posix()))
  count = max(1, len(paths) // _VALIDATION_SHARE)
  return {'train': sorted(order[count:]), 'validation': sorted(order[:count])}
