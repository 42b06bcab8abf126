"""Random damage to the files of a folder, each determined by a seed."""

import json
import os
import pathlib
import random
import shutil
import stat
from collections.abc import Callable
from typing import Any

HUGE = 2**20  # bytes of a line
DEEP = 20_000  # nested brackets

CONTENTS: dict[str, Callable[[random.Random], bytes]] = {
  'empty': lambda draw: b'',
  'binary': lambda draw: draw.randbytes(draw.choice((1, 7, 300, 70_000))),
  'zeros': lambda draw: bytes(draw.choice((1, 8, 4096))),
  'a line break': lambda draw: b'\n',
  'huge line': lambda draw: draw.choice((b'a', b'ab ', b'1', '漢'.encode())) * (HUGE // 3),
  'broken UTF-8': lambda draw: b'one two \xff\xfe three \xc3\n' * draw.choice((1, 1000)),
  'half a surrogate': lambda draw: b'one \xed\xa0\x80 two',
  'UTF-16': lambda draw: 'one two three'.encode('utf-16'),
  'byte order mark': lambda draw: b'\xef\xbb\xbf',
  'deep brackets': lambda draw: draw.choice((b'[', b'{"a":')) * DEEP,
  'other JSON': lambda draw: draw.choice(
    (b'[]', b'null', b'1', b'"x"', b'{}', b'NaN', b'[{}]', b'9' * 5000, b'{"a": Infinity}', b'"\\ud800"')
  ),
  'gzip': lambda draw: b'\x1f\x8b\x08\x00\x00\x00\x00\x00' + draw.randbytes(30),
  'zip': lambda draw: b'PK\x03\x04' + draw.randbytes(60),
}
"""What replaces the content of a file."""

VALUES = (
  *(None, True, False, 0, -1, 1, 2, 3.5, 1e308, 10**30, 2**31, 2**63, '', 'x', '\x00', '\ud800', '..', '/'),
  *([], {}, [None], [1, 2], {'x': 1}, [[]], 'a' * 3000, float('nan'), float('inf')),
)
"""What replaces a value in JSON."""


def damage(folder: pathlib.Path, draw: random.Random, *, pipes: bool = True) -> str:
  """Changes one file or folder below `folder`, to a pipe only if `pipes`; returns what was done."""
  paths = sorted(path for path in folder.rglob('*') if not path.is_symlink())
  files = [path for path in paths if path.is_file()]
  path = draw.choice(files if draw.random() < 0.85 else paths)
  how = draw.choice(_OF_FILES if path.is_file() else _OF_FOLDERS)
  how = _remove if how in (_fifo, _beside) and not pipes else how
  return f'{path.relative_to(folder)}: {how(path, draw)}'


def _replace(path: pathlib.Path, draw: random.Random) -> str:
  what = draw.choice(sorted(CONTENTS))
  path.write_bytes(CONTENTS[what](draw))
  return what


def _truncate(path: pathlib.Path, draw: random.Random) -> str:
  size = path.stat().st_size
  keep = draw.choice((draw.randrange(size + 1), max(size - 1, 0), size // 2))
  os.truncate(path, keep)
  return f'truncated to {keep} of {size} bytes'


def _flip(path: pathlib.Path, draw: random.Random) -> str:
  content = bytearray(path.read_bytes())
  places = [draw.randrange(len(content)) for _ in range(draw.choice((1, 1, 4, 64)))] if content else []
  for place in places:
    content[place] ^= 1 << draw.randrange(8)
  path.write_bytes(content)
  return f'flipped bits at {places[:4]}'


def _insert(path: pathlib.Path, draw: random.Random) -> str:
  new = draw.choice((b'\x00', b'\n', b'\xff', b'\r', b',', b'"', b'{', b'\xef\xbb\xbf'))
  content = path.read_bytes()
  place = draw.choice((0, len(content), draw.randrange(len(content) + 1)))
  path.write_bytes(content[:place] + new + content[place:])
  return f'{new!r} inserted at {place}'


def _repeat(path: pathlib.Path, draw: random.Random) -> str:
  del draw
  path.write_bytes(path.read_bytes() * 2)
  return 'twice'


def _change_json(path: pathlib.Path, draw: random.Random) -> str:
  """Another value, a key less, or a key more, anywhere in a JSON file; of another file, its content."""
  try:
    content = json.loads(path.read_bytes())
  except ValueError:
    return _replace(path, draw)
  places: list[tuple[Any, Any]] = []

  def walk(value: Any) -> None:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in pairs:
      places.append((value, key))
      walk(inside)

  walk(content)
  if not places:
    return _replace(path, draw)
  top = [place for place in places if place[0] is content]
  inside, key = draw.choice(top if draw.random() < 0.5 else places)
  value = draw.choice(VALUES)
  if draw.random() < 0.2:
    del inside[key]
    done = f'{key!r} removed'
  else:
    inside[key], done = value, f'{key!r} = {str(value)[:30]!r}'
  path.write_text(json.dumps(content))
  return done


def _remove(path: pathlib.Path, draw: random.Random) -> str:
  del draw
  _delete(path)
  return 'removed'


def _link(path: pathlib.Path, draw: random.Random) -> str:
  where = draw.choice((path.name, '..', 'nowhere', '/dev/null', '/dev/zero', '/proc/self/mem', '.'))
  _delete(path)
  path.symlink_to(where)
  return f'a link to {where}'


def _fifo(path: pathlib.Path, draw: random.Random) -> str:
  del draw
  _delete(path)
  os.mkfifo(path)
  return 'a FIFO'


def _folder(path: pathlib.Path, draw: random.Random) -> str:
  path.unlink()
  path.mkdir()
  if draw.random() < 0.5:
    (path / 'x.txt').write_text('one two')
  return 'a folder'


def _file(path: pathlib.Path, draw: random.Random) -> str:
  del draw
  shutil.rmtree(path)
  path.write_text('one two')
  return 'a file'


def _closed(path: pathlib.Path, draw: random.Random) -> str:
  """Has no effect for root."""
  mode = draw.choice((0, stat.S_IRUSR, stat.S_IWUSR))
  path.chmod(mode)
  return f'mode {mode:o}'


def _rename(path: pathlib.Path, draw: random.Random) -> str:
  name = draw.choice(_NAMES)
  place = path.with_name(name + draw.choice(('', path.suffix)))
  if place.exists():
    return _remove(path, draw)
  path.rename(place)
  return f'renamed to {name[:20]!r}'


_NAMES = ('a\nb', 'x' * 200, '\udcff', '.hidden', 'é', 'test', 'train', 'x.tar.gz', ' ', '-x', 'y.jsonl')


def _beside(path: pathlib.Path, draw: random.Random) -> str:
  """Another entry beside it."""
  other = path.with_name(f'{draw.choice(("new", "train", "valid", "val", "wiki.test.raw"))}{path.suffix}')
  if other.exists() or other.is_symlink():
    return _remove(path, draw)
  what = draw.choice(('folder', 'FIFO', 'file', 'link'))
  {
    'folder': other.mkdir,
    'FIFO': lambda: os.mkfifo(other),
    'file': lambda: other.write_bytes(b'\x00\xff'),
    'link': lambda: other.symlink_to('.'),
  }[what]()
  return f'{what} {other.name} beside it'


def _delete(path: pathlib.Path) -> None:
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink()


_OF_FILES = (
  *(_replace, _replace, _replace, _truncate, _truncate, _flip, _flip, _insert, _repeat),
  *(_change_json, _change_json, _change_json, _remove, _link, _fifo, _folder, _closed, _rename, _beside),
)
_OF_FOLDERS = (_remove, _link, _fifo, _file, _closed, _rename, _beside)
