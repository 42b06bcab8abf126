"""Text files: a directory or a glob, each file a document."""

import dataclasses
import pathlib
from typing import ClassVar

from infformer_jax.data import documents
from infformer_jax.data.stored import StoredConfig
from infformer_jax.errors import UserError

_VALIDATION_SHARE = 20  # Without folders, one file in this many is validation, and at least one.


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig(StoredConfig):
  """UTF-8 files.

  The folders train, validation and test determine the split of a file. If there is none of these folders, the
  files are ordered by the hash of their path relative to the directory (of a glob: to the part before its
  first wildcard); the first twentieth is 'validation', and the rest is 'train'.
  """

  paths: ClassVar[tuple[str, ...]] = ('source_dir',)

  kind: str = 'text'
  source_dir: str  # a directory, possibly with these folders, or a glob such as 'books/**/*.txt'

  def open(self, workdir: pathlib.Path) -> documents.FixedSplits:
    del workdir
    root, paths = documents.find(self.source_dir)
    chosen = {
      name: [path for path in paths if path.relative_to(root).parent.parts[:1] == (name,)]
      for name in documents.SPLITS
    }
    if not any(chosen.values()):
      chosen = self._divided(root, paths)
    found = {name: documents.FileDocuments(root, own) for name, own in chosen.items() if own}
    return documents.FixedSplits(documents=found, facts={'source_dir': self.source_dir})

  def _divided(self, root: pathlib.Path, paths: list[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """Splits without folders, by hash."""
    if len(paths) < 2:
      raise UserError(
        f"data.source_dir = '{self.source_dir}' has a single file, which cannot serve for both training and "
        'validation; add files, or move it into a folder train, validation or test'
      )
    order = sorted(paths, key=lambda path: documents.name_hash(path.relative_to(root).as_posix()))
    count = max(1, len(paths) // _VALIDATION_SHARE)
    return {'train': sorted(order[count:]), 'validation': sorted(order[:count])}
