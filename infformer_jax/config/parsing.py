"""Configs: a `ConfigDict` in config files, frozen dataclasses in the package.

A config file has a function `get_config` that returns `config_dict(Experiment(...))`. `load_config` calls it,
applies the flags and builds the dataclasses again. A key or value that no dataclass declares is an error that
names the key, the value, what is allowed and the most similar valid name. This module depends on none of the
dataclasses. One with a static method `kinds() -> {kind: dataclass}` is replaced by the dataclass that its key
`kind` selects.
Flags and exit codes are in command_line.py.
"""

import dataclasses
import inspect
import os
import pathlib
import re
import runpy
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from ml_collections import ConfigDict, FieldReference

from infformer_jax.config import type_hints
from infformer_jax.errors import ConfigError, unknown

_T = TypeVar('_T')
Overrides = Iterable[tuple[str, str]]
"""Dotted keys and texts from the flags, e.g. ('model.memory.num_basis', '256')."""


def config_dict(instance: Any) -> ConfigDict:
  """The nested ConfigDict of a dataclass. Fields of a union type are references, which accept all its types.

  Raises:
    ConfigError: a value is not of its field's type.
  """
  config = ConfigDict()
  for name, hint in type_hints.fields(type(instance)).items():
    value = getattr(instance, name)
    if dataclasses.is_dataclass(value):
      config[name] = config_dict(value)
      continue
    value = _value(value, hint, name)
    others = [option for option in type_hints.options(hint) if option is not type(None)]
    union = len(type_hints.options(hint)) > 1
    field_type = others[0] if others[0] in (int, float, bool, str) and len(others) == 1 else object
    config[name] = FieldReference(value, field_type=field_type) if union else value
  return config


def parse(cls: type[_T], config: Mapping[str, Any] | ConfigDict, path: str = '') -> _T:
  """Builds a dataclass, or the one that `kind` selects, and the dataclasses inside it.

  Args:
    cls: a frozen dataclass, or one with `kinds()`.
    config: nested; keys that are absent keep the dataclass's default.
    path: the dotted key of `config` in the full config, for errors.
  Raises:
    ConfigError: a key is unknown or missing, a value has the wrong type, or a dataclass refuses a value.
  """
  picked = _picked(cls, config, path)
  known = type_hints.fields(picked)
  for name in config:
    if name not in known:
      raise ConfigError(unknown('key', join(path, name), name, known))
  for field in dataclasses.fields(picked):
    if type_hints.required(field) and field.name not in config:
      raise ConfigError(
        f"missing key '{join(path, field.name)}', which must be {type_hints.describe(known[field.name])}"
      )
  values = {
    name: _value(config[name], hint, join(path, name)) for name, hint in known.items() if name in config
  }
  try:
    return picked(**values)
  except ConfigError as error:  # A dataclass does not know its path.
    named = not path or str(error).startswith(tuple(known))
    raise ConfigError(join(path, str(error)) if named else f'{path}: {error}') from None


def override(instance: _T, overrides: Overrides) -> _T:
  """A config with the overrides from flags.

  Overrides of `kind` are applied first, wherever they are on the command line. Another kind replaces the
  section by its defaults, except for fields that all kinds have and whose values in this config are not the
  defaults. Of several values for one key, the last one applies.

  Raises:
    ConfigError: as `parse`; the text of a flag is converted to the type of its field.
  """
  config = dataclasses.asdict(instance)  # type: ignore[call-overload]
  everywhere = _leaves(config)

  def kinds_first(item: tuple[str, str]) -> tuple[bool, int]:
    is_kind = item[0].split('.')[-1] == 'kind'
    return not is_kind, item[0].count('.') if is_kind else 0

  for key, text in sorted(overrides, key=kinds_first):
    _set(type(instance), config, key.split('.'), text, '', everywhere)
  return parse(type(instance), config)


def load_config(path: str, overrides: Overrides = (), *, cls: type[_T]) -> _T:
  """The config of a file, e.g. 'configs/pg19.py:size=tiny', with the overrides from flags.

  Raises:
    ConfigError: the file does not exist, it has no `get_config`, its argument is invalid, or as `override`.
  """
  if not path or re.match(r'[a-zA-Z][\w+.-]*://', path):
    raise ConfigError(f"--config = '{path}' must be a local file")
  name, _, argument = path.partition(':')
  file = pathlib.Path(name)
  if not os.path.isfile(name):  # That of pathlib raises for a name that is too long.
    folder = file.parent.glob('*.py') if os.path.isdir(file.parent) else ()
    others = sorted(str(p) for p in folder if p.stem != '__init__')
    raise ConfigError(unknown('config file', name, name, others))
  if file.suffix != '.py':
    raise ConfigError(
      f"--config = '{name}' must be a Python file, {file.stem}.py; without --config, a program takes the "
      'config of its --workdir'
    )
  get_config = runpy.run_path(name).get('get_config')
  if get_config is None:
    raise ConfigError(
      f'{name} has no function get_config; add one that returns config_dict({cls.__name__}(...))'
    )
  if argument and not inspect.signature(get_config).parameters:
    raise ConfigError(f"{name} takes no argument, such as '{argument}'; use --config={name}")
  try:
    config = get_config(argument) if argument else get_config()
    if not isinstance(config, ConfigDict):
      raise ConfigError(
        f'get_config must return config_dict({cls.__name__}(...)), not a {type(config).__name__}'
      )
    instance = parse(cls, config)
  except ConfigError as error:
    raise ConfigError(f'{name}: {error}') from None
  return override(instance, overrides)


def parse_argument(argument: str | None, **allowed: tuple[Any, Any]) -> types.SimpleNamespace:
  """Parses the text after the colon in 'configs/pg19.py:size=tiny'.

  Args:
    argument: 'key=value,key=value', or None.
    allowed: the default of every key, and its choices or its type, such as int.
  Raises:
    ConfigError: a key or a value is not allowed.

  >>> parse_argument('size=tiny', size=('base', ('tiny', 'base'))).size
  'tiny'
  """
  values = {key: default for key, (default, _) in allowed.items()}
  hints = {key: type_ if isinstance(type_, type) else Literal[type_] for key, (_, type_) in allowed.items()}
  for item in argument.split(',') if argument else []:
    key, _, value = item.partition('=')
    if key not in allowed:
      examples = [
        f'{k}={type_.__name__ if isinstance(type_, type) else "|".join(type_)}'
        for k, (_, type_) in allowed.items()
      ]
      raise ConfigError(unknown('argument', item, item, examples))
    values[key] = _value(type_hints.read(value, hints[key]), hints[key], f'argument {key}')
  return types.SimpleNamespace(**values)


def _set(
  cls: Any, config: dict[str, Any], keys: list[str], text: str, path: str, everywhere: list[str]
) -> None:
  """Sets one key of a plain nested config, in place, to the value of a flag.

  Args:
    cls: the dataclass of `config`.
    config: a section, without dataclasses.
    keys: the rest of the dotted key, in `config`.
    text: of the flag.
    path: the dotted key of `config` in the full config.
    everywhere: all dotted keys of the full config, for suggestions.
  """
  name, *rest = keys
  key, full = join(path, name), join(path, '.'.join(keys))
  if name == 'kind' and not rest and hasattr(cls, 'kinds'):
    if 'kind' not in config or config['kind'] != text:
      before = type_hints.defaults(_picked(cls, config, path)) if 'kind' in config else {}
      kept = {
        key: config[key] for key in type_hints.fields(cls) if key in before and config[key] != before[key]
      }
      defaults = type_hints.defaults(_picked(cls, {'kind': text}, path))
      config.clear()
      config.update(defaults | kept | {'kind': text})
    return
  known = type_hints.fields(_picked(cls, config, path))
  if name not in known:
    raise ConfigError(
      unknown('key', full, name, known, [k for k in everywhere if k.split('.')[-1] == keys[-1] and k != full])
    )
  section = type_hints.section(known[name])
  if section is None and not rest:
    config[name] = type_hints.read(text, known[name])
  elif section is None:
    raise ConfigError(
      f"unknown key '{full}': '{key}' is {type_hints.describe(known[name])} and has no keys of its own"
    )
  elif not rest:
    inside = type_hints.fields(_picked(section, config[name], key))
    raise ConfigError(
      f"{full} = '{text}' must not be set, because it is a section; set one of its keys ({', '.join(inside)})"
    )
  else:
    config[name] = config[name] or {}  # An optional section may be None.
    _set(section, config[name], rest, text, key, everywhere)


def _value(value: Any, hint: Any, key: str) -> Any:
  section = type_hints.section(hint)
  if section is not None and isinstance(value, Mapping | ConfigDict):
    return parse(section, value, key)
  try:
    return type_hints.convert(value, hint)
  except TypeError as error:
    raise ConfigError(f'{key} = {value!r} {error}') from None


def _picked(cls: Any, config: Mapping[str, Any] | ConfigDict, path: str) -> Any:
  """The dataclass itself, or the one that the config's `kind` selects."""
  if not hasattr(cls, 'kinds'):
    return cls
  kinds, key = cls.kinds(), join(path, 'kind')
  if 'kind' not in config:
    raise ConfigError(f"missing key '{key}' (allowed: {', '.join(kinds)})")
  return kinds[_value(config['kind'], Literal[tuple(kinds)], key)]


def join(path: str, name: str) -> str:
  """The dotted key of `name` in the section `path`."""
  return f'{path}.{name}' if path else name


def _leaves(config: Mapping[str, Any], path: str = '') -> list[str]:
  """Every dotted key of a nested config."""
  keys = [(join(path, name), value) for name, value in config.items()]
  return [leaf for key, value in keys for leaf in (_leaves(value, key) if isinstance(value, dict) else [key])]
