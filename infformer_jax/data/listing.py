"""Finds the files of a corpus, and says what is not part of it."""

import dataclasses
import fnmatch
import glob
import itertools
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from etils import epath

from infformer_jax import paths
from infformer_jax.data.folders import Copies, Entry, Files, Tree, is_dir, is_file, open_tree
from infformer_jax.data.left_out import LeftOut, described
from infformer_jax.data.split_names import ALIASES
from infformer_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
  """The files under a folder.

  Attributes:
    files: in the order of the parts of their names.
    left_out: what was not entered or taken.
    again: other names of files and folders (with a slash at the end), and the names under which these count.
  """

  files: Files
  left_out: LeftOut
  again: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @property
  def names(self) -> list[str]:
    """The files' paths relative to the folder, with slashes."""
    return list(self.files.stats)


def find(source_dir: str, workdir: epath.Path, copies: Copies) -> Listing:
  """Finds the files that `data.source_dir` names.

  Links are followed. A file counts once, by its real path. Of several names, those in top-level folders with
  names of splits have precedence, and then those without links. Left out are hidden files and folders, links
  that lead nowhere or to a folder above, work directories and caches.

  Args:
    source_dir: a directory, whose subdirectories are searched too, a file, or a glob. The root of a glob is
      the part before its first wildcard.
    workdir: the work directory of the run.
    copies: where copies of files in a bucket are kept.
  Raises:
    UserError: nothing is there, or a folder cannot be read.
  """
  root, key = paths.parse(source_dir, 'data.source_dir'), f"data.source_dir = '{source_dir}'"
  tree, parts = open_tree(root, key), ['**']
  if tree.is_file:
    stats = {root.name: tree.stat(os.fspath(root))}
    return Listing(files=Files(root=root.parent, stats=stats, copies=copies), left_out={})
  if not tree.is_dir:
    given = pathlib.PurePath(source_dir).parts
    parts = list(itertools.dropwhile(lambda part: not glob.has_magic(part), given))
    if not parts:
      raise UserError(f'{key} does not exist; give a directory of text files or a glob')
    root = root.parents[len(parts) - 1]
    tree = open_tree(root, key)
  found = _walk(tree, root, parts, workdir=workdir, key=key, copies=copies) if tree.is_dir else None
  if found is None or not found.names:
    what = 'has no files' if parts == ['**'] else 'matches no file'
    raise UserError(f'{key} {what}{described(found.left_out) if found else ""}; put text files there')
  return found


def walk(root: epath.Path, *, workdir: epath.Path | None, key: str, copies: Copies) -> Listing:
  """Lists the files under a folder, as `find` describes; none if it does not exist.

  Args:
    root: the folder.
    workdir: the work directory of the run, if there is one.
    key: the key or flag that names the folder, and its value, for errors.
    copies: where copies of files in a bucket are kept.
  Raises:
    UserError: the folder is a work directory, or a folder cannot be read.
  """
  tree = open_tree(root, key)
  if not tree.is_dir:
    return Listing(files=Files(root=root, stats={}, copies=copies), left_out={})
  return _walk(tree, root, ['**'], workdir=workdir, key=key, copies=copies)


def _walk(
  tree: Tree,
  root: epath.Path,
  pattern: Sequence[str],
  *,
  workdir: epath.Path | None,
  key: str,
  copies: Copies,
) -> Listing:
  """`pattern` has the parts of a glob relative to the root; '**' stands for any number of folders."""
  real, own = _real(root), None if workdir is None else _real(workdir)
  if real == own:
    raise UserError(
      f'{key} must not be the work directory itself; use another --workdir, such as {root / "run"}'
    )
  if own is not None and real.startswith(f'{own}/'):
    own = None  # The data are a folder inside the work directory.
  found = _Walk(tree, pattern, own)
  found.walk(os.fspath(root), real)
  if '' in found.left_out.get(_WORKDIR, ()):
    raise UserError(
      f'{key} seems to be a work directory or a part of one (docs/data.md); give a folder of texts'
    )
  names = sorted(found.names, key=lambda name: name.split('/'))
  stats = {name: tree.stat(f'{os.fspath(root)}/{name}') for name in names}
  return Listing(
    files=Files(root=root, stats=stats, copies=copies),
    left_out={**found.left_out, **tree.left_out},
    again=found.again,
  )


def _real(path: epath.Path) -> str:
  return os.path.realpath(path) if paths.is_local(path) else os.fspath(path).rstrip('/')


_WORKDIR = 'work directory'
_TOKENIZER = re.compile(r'bpe_\d+\.json')


class _Found(NamedTuple):
  """An entry of a folder."""

  entry: Entry
  name: str  # its path relative to the root
  parent: str  # the real path of the folder
  positions: frozenset[int]  # in the pattern
  above: tuple[str, ...]  # the real paths of the folders that lead here


class _Walk:
  """A walk through folders; the positions in the pattern after a path are a set, since '**' is ambiguous."""

  def __init__(self, tree: Tree, pattern: Sequence[str], workdir: str | None):
    self.names: list[str] = []
    self.left_out: dict[str, list[str]] = {}
    self.again: dict[str, str] = {}
    self._tree, self._pattern, self._workdir = tree, list(pattern), workdir
    self._links: list[_Found] = []
    self._seen: dict[object, str] = {}

  def walk(self, root: str, real: str) -> None:
    """Lists the root: first folders and files with names of splits, and in each part links at the end."""
    found = self._entries(root, '', real, frozenset([0]), ())
    for first in (True, False):
      for one in found:
        if first == (one.entry.name.partition('.')[0].lower() in ALIASES):
          self._take(one)
      while self._links:
        self._take(self._links.pop(0), follow=True)

  def _entries(
    self, folder: str, prefix: str, real: str, positions: frozenset[int], above: tuple[str, ...]
  ) -> list[_Found]:
    """What is in a folder and matches the pattern so far; nothing if it is a work directory."""
    found = self._tree.entries(folder)
    if _is_workdir({entry.name for entry in found}):
      self._leave_out(_WORKDIR, prefix[:-1])
      return []
    after = [(entry, self._after(positions, entry.name)) for entry in found]
    return [_Found(entry, f'{prefix}{entry.name}', real, p, (*above, real)) for entry, p in after if p]

  def _take(self, found: _Found, *, follow: bool = False) -> None:
    """Takes a file, or what is in a folder. Links wait in `_links` unless they are to be followed."""
    entry, name, parent, positions, above = found
    linked = entry.is_symlink()
    if linked and not follow:
      self._links.append(found)
      return
    real = os.path.realpath(entry.path) if linked else os.path.join(parent, entry.name)
    if entry.name.startswith('.'):
      self._leave_out('hidden', name)
    elif self._workdir is not None and f'{real}/'.startswith(f'{self._workdir}/'):
      self._leave_out(_WORKDIR, name)
    elif entry.name.endswith('.partial'):  # What files.write_atomically has not finished.
      self._leave_out('temporary', name)
    elif is_dir(entry):
      if real in above:
        self._leave_out('link to a folder above', name)
      elif positions == {len(self._pattern)}:
        self._leave_out('folder that the glob does not enter', name)
      elif self._is_first((real, positions), f'{name}/', 'folder under another name'):
        for inside in self._entries(entry.path, f'{name}/', real, positions, above):
          self._take(inside)
    elif not is_file(entry):
      self._leave_out('dangling link' if linked else 'not a file', name)
    elif len(self._pattern) in self._closed(positions) and self._is_first(
      real, name, 'file under another name'
    ):
      self.names.append(name)

  def _is_first(self, key: object, name: str, reason: str) -> bool:
    """Whether a real path occurs for the first time; otherwise its other name is left out."""
    first = self._seen.setdefault(key, name)
    if first != name:
      self.again[name] = first
      self._leave_out(reason, name.removesuffix('/'))
    return first == name

  def _closed(self, positions: Iterable[int]) -> set[int]:
    """The positions, and those that follow them because '**' may stand for nothing."""
    closed = set()
    for position in positions:
      closed.add(position)
      while self._pattern[position : position + 1] == ['**']:
        position += 1
        closed.add(position)
    return closed

  def _after(self, positions: frozenset[int], name: str) -> frozenset[int]:
    after = set()
    for position in self._closed(positions):
      if position < len(self._pattern):
        part = self._pattern[position]
        if part == '**':
          after.add(position)
        elif fnmatch.fnmatchcase(name, part):
          after.add(position + 1)
    return frozenset(after)

  def _leave_out(self, reason: str, name: str) -> None:
    self.left_out.setdefault(reason, []).append(name)


def _is_workdir(names: set[str]) -> bool:
  """Whether a folder with these names is the work directory of a run or of a sweep, or a part of one."""
  return (
    ('config.json' in names and bool(names & {'data.json', 'checkpoints'}))
    or {'points', 'ablation.json'} <= names
    or ('lock' in names and all(name == 'lock' or _TOKENIZER.fullmatch(name) for name in names))  # a new one
    or 'CACHEDIR.TAG' in names
    or {'ids', 'about.json'} <= names  # tokens
  )
