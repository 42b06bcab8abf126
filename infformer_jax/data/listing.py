"""Finds the files of a corpus, and says what is not part of it."""

import dataclasses
import fnmatch
import glob
import hashlib
import itertools
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from infformer_jax.errors import UserError

LeftOut = Mapping[str, Sequence[str]]
"""Names of files and folders that are not part of the data, by the reason."""

_NAMED = 3  # names per reason in a summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
  """The files under a folder.

  Attributes:
    root: the folder.
    names: the files' paths relative to it, with slashes, in the order of their parts.
    left_out: what was not entered or taken.
  """

  root: pathlib.Path
  names: Sequence[str]
  left_out: LeftOut


def find(source_dir: str, workdir: pathlib.Path) -> Listing:
  """Finds the files that `data.source_dir` names.

  Links are followed. A file counts once, by its real path, under the first of its names. Left out are hidden
  files and folders, links that lead nowhere or to a folder above, and work directories.

  Args:
    source_dir: a directory, whose subdirectories are searched too, a file, or a glob. The root of a glob is
      the part before its first wildcard.
    workdir: the work directory of the run.
  Raises:
    UserError: nothing is there, or a folder cannot be read.
  """
  path, key = pathlib.Path(os.path.expanduser(source_dir)), f"data.source_dir = '{source_dir}'"
  if os.path.isfile(path):
    return Listing(root=path.parent, names=[path.name], left_out={})
  parts = ['**']
  if os.path.isdir(path):
    root = path
  elif glob.has_magic(source_dir):
    root = pathlib.Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    parts = list(path.parts[len(root.parts) :])
  else:
    raise UserError(f'{key} does not exist; give a directory of text files or a glob')
  found = walk(root, parts, workdir=workdir, key=key) if os.path.isdir(root) else None
  if found is None or not found.names:
    what = 'has no files' if parts == ['**'] else 'matches no file'
    raise UserError(f'{key} {what}{described(found.left_out) if found else ""}; put text files there')
  return found


def walk(
  root: pathlib.Path, pattern: Sequence[str] = ('**',), *, workdir: pathlib.Path | None, key: str
) -> Listing:
  """Lists the files under a folder, as `find` describes.

  Args:
    root: the folder.
    pattern: the parts of a glob relative to it; '**' stands for any number of folders.
    workdir: the work directory of the run, if there is one.
    key: the key or flag that names the folder, and its value, for errors.
  Raises:
    UserError: the folder is a work directory, or a folder cannot be read.
  """
  real, own = os.path.realpath(root), None if workdir is None else os.path.realpath(workdir)
  if real == own:
    raise UserError(
      f'{key} must not be the work directory itself; use another --workdir, such as {root / "run"}'
    )
  if own is not None and real.startswith(f'{own}{os.sep}'):
    own = None  # The data are a folder inside the work directory.
  found = _Walk(pattern, own)
  found.enter(str(root), '', real, frozenset([0]), ())
  if '' in found.left_out.get(_WORKDIR, ()):
    raise UserError(f'{key} is a work directory or a part of one; give a folder of texts')
  return Listing(root=root, names=found.names, left_out=found.left_out)


def described(left_out: LeftOut) -> str:
  """' (left out: ...)' with every reason, count and some names, or nothing.

  >>> described({'hidden': ['.git', '.a', '.b', '.c'], 'dangling link': ['more']})
  ' (left out: 4 hidden: .git, .a, .b, ...; 1 dangling link: more)'
  """
  reasons = []
  for reason, names in left_out.items():
    more = ', ...' if len(names) > _NAMED else ''
    reasons.append(f'{len(names):,} {reason}: {", ".join(_first(names))}{more}')
  return f' (left out: {"; ".join(reasons)})' if reasons else ''


def counted(left_out: LeftOut) -> dict[str, dict[str, int | list[str]]]:
  """The same for JSON: by reason, the count and the first names."""
  return {reason: {'count': len(names), 'first': _first(names)} for reason, names in left_out.items()}


def _first(names: Sequence[str]) -> list[str]:
  """Some of the names. One that is not UTF-8 can be a path, but cannot be printed."""
  return [os.fsencode(name).decode(errors='backslashreplace') for name in names[:_NAMED]]


def listing_key(root: pathlib.Path, names: Iterable[str]) -> str:
  """A hash of the folder, and of the names, sizes and times of its files; another one if a file may differ.

  Without the folder, different files of equal sizes would be the same where all times are set to one value,
  as in reproducible archives.

  Raises:
    UserError: a file has disappeared.
  """
  try:
    stats = [(name, os.stat(root / name)) for name in names]
  except OSError as error:
    raise UserError(f'cannot read {error.filename}: {error.strerror}; start again') from None
  facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
  return hashlib.sha256(repr((str(root.resolve()), facts)).encode()).hexdigest()


_WORKDIR = 'work directory'


class _Walk:
  """A walk through folders; the positions in the pattern after a path are a set, since '**' is ambiguous."""

  def __init__(self, pattern: Sequence[str], workdir: str | None):
    self.names: list[str] = []
    self.left_out: dict[str, list[str]] = {}
    self._pattern, self._workdir = list(pattern), workdir
    self._seen: set[object] = set()

  def enter(
    self, folder: str, prefix: str, real: str, positions: frozenset[int], above: tuple[str, ...]
  ) -> None:
    """Lists a folder.

    Args:
      folder: its path.
      prefix: its path relative to the root, with a slash at the end; '' for the root.
      real: its path without links.
      positions: in the pattern.
      above: the real paths of the folders that lead here.
    """
    try:
      with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
      raise UserError(
        f'cannot read the folder {folder}: {error.strerror}; make it readable, or move it out of the data'
      ) from None
    if _is_workdir({entry.name for entry in found}):
      self._leave_out(_WORKDIR, prefix[:-1])
      return
    for entry in found:
      after = self._after(positions, entry.name)
      if after:
        self._take(entry, f'{prefix}{entry.name}', real, after, (*above, real))

  def _take(
    self, entry: os.DirEntry[str], name: str, parent: str, positions: frozenset[int], above: tuple[str, ...]
  ) -> None:
    linked = entry.is_symlink()
    try:
      is_dir, is_file = entry.is_dir(), entry.is_file()
    except OSError:  # A link to itself.
      is_dir = is_file = False
    real = os.path.realpath(entry.path) if linked else os.path.join(parent, entry.name)
    if entry.name.startswith('.'):
      self._leave_out('hidden', name)
    elif self._workdir is not None and f'{real}{os.sep}'.startswith(f'{self._workdir}{os.sep}'):
      self._leave_out(_WORKDIR, name)
    elif entry.name.endswith('.partial'):  # What files.write_atomically has not finished.
      self._leave_out('temporary', name)
    elif is_dir:
      if real in above:
        self._leave_out('link to a folder above', name)
      elif positions == {len(self._pattern)}:
        self._leave_out('folder that the glob does not enter', name)
      elif (real, positions) in self._seen:
        self._leave_out('folder under another name', name)
      else:
        self._seen.add((real, positions))
        self.enter(entry.path, f'{name}/', real, positions, above)
    elif not is_file:
      self._leave_out('dangling link' if linked else 'not a file', name)
    elif len(self._pattern) in self._closed(positions):
      if real in self._seen:
        self._leave_out('file under another name', name)
      else:
        self._seen.add(real)
        self.names.append(name)

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
    or {'lock', 'tokens'} <= names  # of a run that was killed before it wrote its config
    or {'ids', 'split.json'} <= names  # tokens
  )
