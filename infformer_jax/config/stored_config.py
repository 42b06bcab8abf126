"""The config in a work directory, which is stored as JSON, and its differences from another config."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any, TypeVar

from etils import epath

from infformer_jax import paths
from infformer_jax.config import type_hints
from infformer_jax.config.parsing import join, parse
from infformer_jax.errors import ConfigError

_T = TypeVar('_T')


def from_json(cls: type[_T], text: str) -> _T:
  """The config in a JSON text, as `json.dumps(dataclasses.asdict(config))` writes it.

  Raises:
    ConfigError: the text is not a JSON object, or as `parse`.
  """
  return parse(cls, _object(text))


def read_config(cls: type[_T], file: epath.Path, section: str | None = None) -> _T:
  """The config in a work directory's config.json, or one of its sections.

  Raises:
    ConfigError: the file is missing or damaged; names it.
  """
  try:
    text = paths.read_bytes(file).decode()
    if section is None:
      return from_json(cls, text)
    return parse(cls, _section(_object(text), section), section)
  except FileNotFoundError:
    raise ConfigError(f'{file} does not exist; use the work directory of a training run') from None
  except paths.errors() as error:
    raise ConfigError(f'cannot read {file}: {paths.reason(error)}') from None
  except (ConfigError, UnicodeDecodeError) as error:
    raise ConfigError(f'{file}: {error}') from None


def differences(old: Any, new: Any, *, except_for: Iterable[str] = ()) -> list[str]:
  """The differences of the requested config from that of a work directory, one line each.

  Args:
    old, new: instances of one dataclass. If the kind of a section differs, only the kind is named.
    except_for: dotted keys of values or sections that may differ.
  """
  skipped = tuple(except_for)

  def compare(old: Any, new: Any, path: str) -> list[str]:
    if path in skipped or old == new:
      return []
    if not dataclasses.is_dataclass(old) or not dataclasses.is_dataclass(new):
      return [f'{path}: {old} in the work directory, {new} requested']
    names = type_hints.fields(type(old)) if type(old) is type(new) else ['kind']
    return [line for n in names for line in compare(getattr(old, n), getattr(new, n), join(path, n))]

  return compare(old, new, '')


def _object(text: str) -> dict[str, Any]:
  try:
    config = json.loads(text)
  except (ValueError, RecursionError) as error:  # Also for integers of too many digits.
    raise ConfigError(f'not a config in JSON ({error}); restore it, or use another work directory') from None
  if not isinstance(config, dict):
    raise ConfigError(
      f'not a config in JSON (a {type(config).__name__}); restore it, or use another work directory'
    )
  return config


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
  section = config.get(name, {})
  if not isinstance(section, dict):
    raise ConfigError(
      f'{name} is no section (a {type(section).__name__}); restore it, or use another work directory'
    )
  return section
