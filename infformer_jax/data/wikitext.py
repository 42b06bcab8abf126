"""WikiText-2 and WikiText-103 (Merity et al. 2017), divided into their articles."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple

from etils import epath

from infformer_jax import paths
from infformer_jax.data import documents, text_files
from infformer_jax.data.documents import Document
from infformer_jax.data.folders import Files, flat
from infformer_jax.data.stored import StoredConfig
from infformer_jax.errors import UserError

_FILE = re.compile(r'wiki\.(train|valid|test)\.(tokens|raw)')
_SPLITS = {'train': 'train', 'valid': 'validation', 'test': 'test'}
_TITLE = re.compile(rb' = (?!= ).*[^ ] = \n')


@dataclasses.dataclass(frozen=True, kw_only=True)
class WikitextConfig(StoredConfig):
  """The folder of an unpacked archive: wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens, or .raw.

  Every article is a document, with all of its characters: one after the other, those of a split are its file.
  A word is what stands between white space. Word-level models count the end of every line as a word too: of
  the test set, 245,569 instead of 241,211. The logarithms of the perplexities have the inverse ratio.
  """

  paths: ClassVar[tuple[str, ...]] = ('source_dir',)

  kind: str = 'wikitext'
  source_dir: str

  def open(self, workdir: epath.Path) -> documents.FixedSplits:
    del workdir  # Only these files are read.
    key = f"data.source_dir = '{self.source_dir}'"
    files = flat(paths.parse(self.source_dir, 'data.source_dir'), key, self.copies)
    found = {name: match for name in files.stats if (match := _FILE.fullmatch(name))}
    by_split = {match[1]: name for name, match in found.items()}
    if not found:
      raise UserError(
        f'{key} has no file of WikiText, such as wiki.train.tokens; unpack the archive, and give the folder '
        'that has its files'
      )
    if len(by_split) < len(found):
      raise UserError(
        f'{key} has two files of one split ({", ".join(sorted(found))}); move those that end in .raw, or '
        'those that end in .tokens, to another folder'
      )
    return documents.FixedSplits(
      documents={
        name: Articles(files, by_split[split]) for split, name in _SPLITS.items() if split in by_split
      },
      facts={'source_dir': self.source_dir},
    )


class _Start(NamedTuple):
  """Where an article starts in its file: at the blank line before its title."""

  offset: int  # bytes
  line: int  # of the title, from 1
  title: str


class Articles:
  """The articles of one file: the Documents of a split."""

  sizes = None

  def __init__(self, files: Files, name: str):
    self._files, self._name = files, name

  @property
  def key(self) -> str:
    return f'{self._files.key([self._name])} articles'

  @property
  def outline(self) -> str:
    return f'{self._files.outline([self._name])} articles'

  def __len__(self) -> int:
    return len(self._starts)

  def read(self, indices: Iterable[int]) -> Iterator[Document]:
    path, starts = self._files.local([self._name]) / self._name, self._starts
    with text_files.open_bytes(path) as file:
      for index in indices:
        start = starts[index]
        size = starts[index + 1].offset - start.offset if index + 1 < len(starts) else -1
        file.seek(start.offset)
        name = f'{self._name}:{start.line} {start.title}'
        yield Document(name, text_files.decode_utf8(file.read(size), f'{path}, line {start.line}'))

  @functools.cached_property
  def _starts(self) -> list[_Start]:
    """Of all articles. A line of text can look like a title, which has a blank line before and after it."""
    path = self._files.local([self._name]) / self._name
    starts: list[_Start] = []
    with text_files.open_bytes(path) as file:
      before, line, offset = b'', next(file, b''), 0  # `offset` is that of `before`.
      for number in itertools.count(1):
        if not line:
          break
        after = next(file, b'')
        if _TITLE.fullmatch(line) and not before.strip() and not after.strip():
          title = text_files.decode_utf8(line, f'{path}, line {number}').strip(' =\n')
          starts.append(_Start(offset if starts else 0, number, title))
        offset += len(before)
        before, line = line, after
    if not starts:
      raise UserError(
        f"{path} has no article: the title of an article is a line ' = Title = ' between two blank lines; "
        'use the files of the archive as they are'
      )
    return starts
