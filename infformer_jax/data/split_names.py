"""Splits that the names of folders and files state."""

import re
from collections.abc import Iterable, Iterator, Sequence
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
}
"""Names of splits, in lower case; the case of a folder or file does not matter."""

_WORD = re.compile(r'[^\W\d_]+')
_EXACT = re.compile(r'([^\W\d_]+)[\W\d_]*(of[\W\d_]*)?')  # the stem 'train', 'train-00000-of-00010', 'test_2'


class Division(NamedTuple):
  """Files by split, in the order of SPLITS, and files that are in no split."""

  splits: dict[str, list[str]]
  outside: list[str]


def divided(names: Sequence[str], *, key: str) -> Division | None:
  """Divides files by their names, in the first way that applies:

  - Top-level folders have names of splits: other files are outside.
  - Every file is in exactly one folder with the name of a split, at any depth.
  - The name of every file has exactly one word that is the name of a split ('wiki.train.tokens').

  Args:
    names: paths relative to the folder of the data, with slashes.
    key: the key that names the folder, and its value, for errors.
  Returns:
    The division; None if the names state no splits.
  Raises:
    UserError: the names are ambiguous. Either a split has two names ('valid' and 'val'), or only a part of
      the files have names of splits, and these are not accidental: a file is called 'test' or
      'test-00000-of-00010', or two names differ only in the split.
  """
  top = [name.split('/')[0] if '/' in name else '' for name in names]
  if any(folder.lower() in ALIASES for folder in top):
    return _division(names, [folder if folder.lower() in ALIASES else None for folder in top], key)
  for found in (_folder_alias, _name_alias):
    aliases = [found(name) for name in names]
    if all(aliases):
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


def _folder_alias(name: str) -> str | None:
  return _one(name.split('/')[:-1])


def _name_alias(name: str) -> str | None:
  return _one(_WORD.findall(name.rpartition('/')[2]))


def _require_unambiguous(names: Sequence[str], key: str) -> None:
  """Raises UserError if the names of some files, but not of all, state splits."""
  stated = _pair(names) or next(([name] for name in names if _is_exact(name)), None)
  if stated is not None:
    other = next((name for name in names if name not in stated and _name_alias(name) is None), names[-1])
    raise UserError(
      f'{key} has {" and ".join(stated)}, which seem to be splits, and other files such as {other}; move all '
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


def _is_exact(name: str) -> bool:
  stem = _EXACT.fullmatch(name.rpartition('/')[2].partition('.')[0])
  return stem is not None and stem[1].lower() in ALIASES
