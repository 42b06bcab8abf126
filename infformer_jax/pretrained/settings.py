"""The config.json of a pretrained checkpoint, whose keys are checked one by one."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from etils import epath

from infformer_jax import files
from infformer_jax.errors import UserError

FILE = 'config.json'


class Settings:
  """The keys of config.json. A key that is null counts as absent, and has its default."""

  def __init__(self, values: Mapping[str, Any], file: epath.PathLike, path: str = ''):
    """
    Args:
      values: the content of the file, or of an object in it.
      file: named in errors.
      path: of the object, with a dot.
    """
    self._values, self._file, self._path = values, file, path

  @classmethod
  def read(cls, folder: epath.Path) -> 'Settings':
    """The config.json in a folder.

    Raises:
      UserError: there is none, or it is damaged.
    """
    file = folder / FILE
    return cls(files.read_json(file), file)

  def __contains__(self, key: str) -> bool:
    return self._values.get(key) is not None

  def get(self, key: str, default: Any = None) -> Any:
    """The value of a key."""
    value = self._values.get(key)
    return default if value is None else value

  def section(self, key: str) -> 'Settings':
    """The keys of an object inside; none if it is absent."""
    value = self.get(key, {})
    if not isinstance(value, dict):
      raise self.refused(key, 'an object')
    return Settings(value, self._file, f'{self._path}{key}.')

  def integer(self, key: str, default: int | None = None) -> int:
    """A positive integer below 2^31.

    Raises:
      UserError: it is something else, or absent and has no default.
    """
    value = self.get(key, default)
    if type(value) is not int or not 0 < value < 2**31:
      raise self.refused(key, 'a positive integer below 2^31')
    return value

  def number(self, key: str, default: float | None = None) -> float:
    """A positive number.

    Raises:
      UserError: it is something else, or absent and has no default.
    """
    value = self.get(key, default)
    if type(value) not in (int, float) or not 0 < value <= sys.float_info.max:
      raise self.refused(key, 'a positive number')
    return float(value)

  def flag(self, key: str, default: bool) -> bool:
    """True or false.

    Raises:
      UserError: it is something else.
    """
    value = self.get(key, default)
    if type(value) is not bool:
      raise self.refused(key, 'true or false')
    return value

  def choice(self, key: str, default: Any, ours: Mapping[Any, Any]) -> Any:
    """What `ours` has for the value of a key.

    Raises:
      UserError: it has nothing for it.
    """
    value = self.get(key, default)
    for theirs, our in ours.items():
      if value == theirs and type(value) is type(theirs):
        return our
    raise self.refused(key, ' or '.join(json.dumps(theirs) for theirs in ours))

  def require(self, key: str, *allowed: Any) -> None:
    """Checks that a key is absent or has one of the values.

    Raises:
      UserError: it has another value.
    """
    if key in self and self._values[key] not in allowed:
      raise self.refused(key, ' or '.join(json.dumps(value) for value in (*allowed, None)))

  def refused(self, key: str, allowed: str) -> UserError:
    """The error for the value of a key."""
    if key not in self:
      return UserError(f'{self._file} has no {self._path}{key}, which must be {allowed}')
    value = json.dumps(self._values[key])
    return UserError(f'{self._file}: {self._path}{key} = {value} is not supported; it must be {allowed}')
