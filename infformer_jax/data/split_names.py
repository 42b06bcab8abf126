"""Splits that the names of folders and files state."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from infformer_jax.errors import UserError

SPLITS = ('train', 'validation', 'test')
ALIASES = {
  'train': 'train',
  'training': 'train',
  'validation': 'validation',
  'valid': 'validation',
  'val': 'validation',
  'dev': 'validation',
  'test': 'test',
  'testing': 'test',
}
"""Names of splits, in lower case; the case of a folder or file does not matter."""

_WORD = re.compile(r'[^\W\d_]+')
_EXACT = re.compile(r'([^\W\d_]+)[\W\d_]*(of[\W\d_]*)?')  # the stem 'train', 'train-00000-of-00010', 'test_2'


class Division(NamedTuple):
  """Files by split, in the order of SPLITS, and files that are in no split."""

  splits: dict[str, list[str]]
  outside: list[str]


def divided(
  names: Sequence[str], *, again: Mapping[str, str] = MappingProxyType({}), key: str
) -> Division | None:
  """Divides files by their names, in the first way that applies:

  - Top-level folders have names of splits: other files are outside.
  - Every file is in exactly one folder with the name of a split, at any depth.
  - The name of every file has exactly one word that is the name of a split ('wiki.train.tokens').

  Args:
    names: paths relative to the folder of the data, with slashes.
    again: other names of files and folders (with a slash at the end), and the names under which these count.
    key: the key that names the folder, and its value, for errors.
  Returns:
    The division; None if the names state no splits.
  Raises:
    UserError: the names are ambiguous: two names of one file are in different splits, or a split has two
      names ('valid' and 'val'), or only a part of the files have names of splits, and these are not
      accidental: a file or folder is called 'test', 'test-00000-of-00010' or 'a.test', or two names differ
      only in the split.
  """
  if any(map(_top_alias, names)):
    _require_unambiguous([name for name in names if '/' not in name], key)
  for found, must_be_all in ((_top_alias, False), (_folder_alias, True), (_name_alias, True)):
    aliases = [found(name) for name in names]
    if all(aliases) if must_be_all else any(aliases):
      for name, first in again.items():
        splits = [alias and ALIASES[alias.lower()] for alias in (found(name), found(first))]
        if None not in splits and splits[0] != splits[1]:
          raise UserError(f'{key} has {first} also as {name}, which is another split; remove one of the two')
      return _division(names, aliases, key)
  _require_unambiguous(names, key)
  return None


def _division(names: Sequence[str], aliases: Sequence[str | None], key: str) -> Division:
  splits: dict[str, list[str]] = {split: [] for split in SPLITS}
  used: dict[str, str] = {}
  outside = []
  for name, alias in zip(names, aliases, strict=True):
    if alias is None:
      outside.append(name)
      continue
    split = ALIASES[alias.lower()]
    if used.setdefault(split, alias) != alias:
      raise UserError(
        f"{key} has two names for the split '{split}': {used[split]} and {alias}; use only one of them"
      )
    splits[split].append(name)
  return Division({split: own for split, own in splits.items() if own}, outside)


def _one(words: Iterable[str]) -> str | None:
  """The only alias among the words."""
  found = {word for word in map(str.lower, words) if word in ALIASES}
  return found.pop() if len(found) == 1 else None


def _top_alias(name: str) -> str | None:
  folder, slash, _ = name.partition('/')
  return folder if slash and folder.lower() in ALIASES else None


def _folder_alias(name: str) -> str | None:
  return _one(name.split('/')[:-1])


def _name_alias(name: str) -> str | None:
  return _one(_WORD.findall(name.rpartition('/')[2]))


def _require_unambiguous(names: Sequence[str], key: str) -> None:
  """Raises UserError if the names of some files, but not of all, state splits."""
  stated = _pair(names) or next(([found] for found in map(_exact, names) if found), None)
  if stated is not None:
    other = next(
      (n for n in names if not any(n == s or n.startswith(f'{s}/') for s in stated) and not _name_alias(n)),
      names[-1],
    )
    raise UserError(
      f'{key} has {" and ".join(stated)} with the name of a split, and other files such as {other}; move all '
      'files into folders train, validation and test, or rename them'
    )


def _pair(names: Sequence[str]) -> list[str] | None:
  """Two files or folders whose names differ only in the split, and in numbers."""
  known: dict[str, tuple[str, str]] = {}  # By the path without the split: the split and the path.
  for path in dict.fromkeys(path for name in names for path in (name, *_folders(name))):
    folder, _, last = path.rpartition('/')
    alias = _one(_WORD.findall(last))
    if alias is not None:
      words = [part if part.lower() != alias else '*' for part in re.split(r'([^\W\d_]+)', last)]
      pattern = re.sub(r'[0-9]+', '0', ''.join(words))
      split, other = known.setdefault(f'{folder}/{pattern}', (ALIASES[alias], path))
      if split != ALIASES[alias]:
        return [other, path]
  return None


def _folders(name: str) -> Iterator[str]:
  """The folders above a file."""
  while '/' in name:
    name = name.rpartition('/')[0]
    yield name


def _exact(name: str) -> str | None:
  """The file, or a folder above it, if it is called like a split: train/, test_2.txt, a.test.txt."""
  for path in (*_folders(name), name):
    *parts, last = path.rpartition('/')[2].split('.')
    for part in parts or [last]:
      word = _EXACT.fullmatch(part)
      if word is not None and word[1].lower() in ALIASES:
        return path
  return None
