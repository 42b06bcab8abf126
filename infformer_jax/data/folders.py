"""Folders of documents on a disk or in a bucket; what is in a bucket is copied to a disk when it is read."""

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from etils import epath

from infformer_jax import files, paths
from infformer_jax.data import buckets
from infformer_jax.data.buckets import Stat
from infformer_jax.data.left_out import LeftOut
from infformer_jax.errors import UserError


class Copies(NamedTuple):
  """Where copies of files in a bucket are kept."""

  folder: pathlib.Path  # on a local disk; need not exist
  key: str  # the key or flag that names it, for errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Files:
  """Files under a folder, by their paths relative to it, with slashes."""

  root: epath.Path
  stats: Mapping[str, Stat]
  copies: Copies

  def key(self, names: Iterable[str]) -> str:
    """A hash of what the list of files says; another one if one of these files may differ.

    The place of files on a disk is included: otherwise different files of equal sizes would be the same where
    all times are set to one value, as in reproducible archives. In a bucket, checksums are compared.
    """
    place = os.path.realpath(self.root) if paths.is_local(self.root) else None
    return _hash((place, [(name, *self.stats[name][:2]) for name in names]))

  def outline(self, names: Iterable[str]) -> str:
    """A hash of names and sizes, which are the same if the same files are in another place."""
    return _hash([(name, self.stats[name].size) for name in names])

  def local(self, names: Sequence[str]) -> pathlib.Path:
    """A local folder with these files: their own one, or one of copies, to which missing ones are added.

    Copies are read and compared with the checksums of the bucket, once by this object.

    Raises:
      UserError: a copy cannot be made; says why. UnavailableError if a bucket cannot be reached.
    """
    if paths.is_local(self.root):
      return pathlib.Path(self.root)
    folder = self._copied
    try:
      missing = buckets.missing(
        {name: self.stats[name] for name in names if name not in self._intact}, folder
      )
      if missing:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.lock(folder.with_suffix('.lock'), wait=True):  # Of several processes, one copies.
          buckets.copy(self.root, missing, folder)
    except paths.errors() as error:
      raise paths.failure(error)(
        f'{self.root} cannot be copied to {self.copies.key} = {self.copies.folder}: {paths.reason(error)}; '
        'correct this and start again, and what is complete is not copied again'
      ) from None
    self._intact.update(names)
    return folder

  @functools.cached_property
  def _intact(self) -> set[str]:
    return set()

  @functools.cached_property
  def _copied(self) -> pathlib.Path:
    for name in self.stats:
      for folder in map(str, pathlib.PurePosixPath(name).parents):
        if folder in self.stats:
          raise UserError(
            f'{self.root} has the object {folder} and also {name}, and no folder on a disk can have both; '
            'rename or remove one of them'
          )
    return self.copies.folder / self.key(self.stats)[:16]


def flat(folder: epath.Path, key: str, copies: Copies) -> Files:
  """The files in a folder, without those in folders inside it; none if it does not exist."""
  tree = open_tree(folder, key)
  entries = tree.entries(os.fspath(folder)) if tree.is_dir else []
  stats = {entry.name: tree.stat(entry.path) for entry in entries if is_file(entry)}
  return Files(root=folder, stats=stats, copies=copies)


class Entry(Protocol):
  """An entry of a folder, as os.DirEntry has it."""

  @property
  def name(self) -> str: ...
  @property
  def path(self) -> str: ...
  def is_dir(self) -> bool: ...
  def is_file(self) -> bool: ...
  def is_symlink(self) -> bool: ...


def is_file(entry: Entry) -> bool:
  """Whether an entry is a regular file or a link to one; not if it is a link to itself, or cannot be read."""
  try:
    return entry.is_file()
  except OSError:
    return False


def is_dir(entry: Entry) -> bool:
  """Whether an entry is a folder or a link to one; not if it is a link to itself, or cannot be read."""
  try:
    return entry.is_dir()
  except OSError:
    return False


class Tree(Protocol):
  """A place, with what is below it if it is a folder."""

  @property
  def is_file(self) -> bool: ...
  @property
  def is_dir(self) -> bool: ...

  @property
  def left_out(self) -> LeftOut:
    """What is below it and in no folder."""

  def entries(self, folder: str) -> list[Entry]:
    """What is in a folder, by name.

    Raises:
      UserError: it cannot be read.
    """

  def stat(self, path: str) -> Stat: ...


def open_tree(root: epath.Path, key: str) -> Tree:
  """What is at a path.

  Args:
    root: the path. If it is in a bucket, all objects below it are listed now.
    key: the key or flag that names it, and its value, for errors.
  Raises:
    UserError: the bucket cannot be read.
  """
  return _Disk(root) if paths.is_local(root) else _Bucket(root, key)


class _Disk:
  def __init__(self, root: epath.Path):
    self.left_out: LeftOut = {}
    self.is_file, self.is_dir = os.path.isfile(root), os.path.isdir(root)

  def entries(self, folder: str) -> list[Entry]:
    try:
      with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
      raise UserError(
        f'cannot read the folder {folder}: {error.strerror}; make it readable, or move it out of the data'
      ) from None

  def stat(self, path: str) -> Stat:
    try:
      found = os.stat(path)
    except OSError as error:
      raise UserError(f'cannot read {path}: {error.strerror}; start again') from None
    return Stat(found.st_size, str(found.st_mtime_ns))


@dataclasses.dataclass(frozen=True)
class _Object:
  """An object, or a folder because there is an object in it."""

  name: str
  path: str
  file: bool

  def is_dir(self) -> bool:
    return not self.file

  def is_file(self) -> bool:
    return self.file

  def is_symlink(self) -> bool:
    return False


class _Bucket:
  def __init__(self, root: epath.Path, key: str):
    found = buckets.objects(root, key)
    self.is_file = '' in found.stats
    self.left_out = {"name with an empty part, '.' or '..'": found.left_out} if found.left_out else {}
    top = os.fspath(root)
    self._stats = {f'{top}/{name}' if name else top: stat for name, stat in found.stats.items()}
    self._folders: dict[str, dict[Entry, None]] = {}
    for path in self._stats if not self.is_file else ():
      for folder, entry in _up(path, os.fspath(root)):
        self._folders.setdefault(folder, {})[entry] = None
    self.is_dir = bool(self._folders or self.left_out)

  def entries(self, folder: str) -> list[Entry]:
    return sorted(self._folders.get(folder, ()), key=lambda entry: entry.name)

  def stat(self, path: str) -> Stat:
    return self._stats[path]


def _up(path: str, root: str) -> Iterator[tuple[str, _Object]]:
  """An object and the folders above it, up to the root, each with the folder that it is in."""
  file = True
  while path != root:
    folder, _, name = path.rpartition('/')
    yield folder, _Object(name, path, file)
    path, file = folder, False


def _hash(content: object) -> str:
  return hashlib.sha256(repr(content).encode()).hexdigest()
