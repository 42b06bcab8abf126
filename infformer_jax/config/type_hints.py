"""Type hints of config dataclasses: conversion of texts and values, and descriptions in words.

Supported types are int, float, bool, str, None, Literal, tuples of these, dataclasses, and their unions.
"""

import ast
import contextlib
import dataclasses
import difflib
import math
import types
import typing
from typing import Any, Literal, Union


def fields(cls: Any) -> dict[str, Any]:
  """The fields of a dataclass and their resolved types, in order."""
  hints = typing.get_type_hints(cls)
  return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def required(field: 'dataclasses.Field[Any]') -> bool:
  """Whether a field of a dataclass has no default."""
  return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def defaults(cls: Any) -> dict[str, Any]:
  """The defaults of a dataclass as a plain nested dict; a section without a default is {}."""
  values: dict[str, Any] = {}
  for field in dataclasses.fields(cls):
    if not required(field):
      made = field.default_factory
      value: Any = field.default if made is dataclasses.MISSING else made()
      values[field.name] = dataclasses.asdict(value) if dataclasses.is_dataclass(type(value)) else value
    elif section(fields(cls)[field.name]) is not None:
      values[field.name] = {}
  return values


def options(hint: Any) -> tuple[Any, ...]:
  """The members of a union; of any other type, the type itself."""
  return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def section(hint: Any) -> Any:
  """The dataclass in a field's type, or None."""
  return next((option for option in options(hint) if dataclasses.is_dataclass(option)), None)


def choices(hint: Any) -> list[Any]:
  """The values of all Literals in a type."""
  return [c for o in options(hint) if typing.get_origin(o) is Literal for c in typing.get_args(o)]


def describe(hint: Any) -> str:
  """A type in words: 'an int or None'."""
  words = {int: 'an int', float: 'a number', bool: 'true or false', str: 'a string', type(None): 'None'}
  parts = [f'one of {", ".join(map(str, choices(hint)))}'] if choices(hint) else []
  for option in options(hint):
    if typing.get_origin(option) is tuple:
      inner = {int: 'ints', float: 'numbers', str: 'strings'}
      args = typing.get_args(option)
      count = '' if args[-1] is Ellipsis else f'{len(args)} '
      parts.append(f'a tuple of {count}{inner.get(args[0], "values")}')
    elif dataclasses.is_dataclass(option):
      parts.append(f'a section with the keys {", ".join(fields(option))}')
    elif option in words:
      parts.append(words[option])
  return ' or '.join(parts)


def read(text: str, hint: Any) -> Any:
  """The value of a flag's text for a type. A text that is no such value is returned; `convert` refuses it."""
  members = options(hint)
  if type(None) in members and text.lower() == 'none':
    return None
  if str in members or text in choices(hint):
    return text
  if bool in members and text.lower() in ('true', 'false'):
    return text.lower() == 'true'
  try:
    value = ast.literal_eval(text.strip())
  except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
    return text
  one_of_a_tuple = isinstance(value, int | float | str) and any(
    typing.get_origin(o) is tuple for o in members
  )
  return (value,) if one_of_a_tuple else value


def convert(value: Any, hint: Any) -> Any:
  """The value converted to a type: an int to a float, a list to a tuple.

  Raises:
    TypeError: the value does not have the type; the message completes the sentence 'key = value ...'.
  """
  for option in options(hint):
    args = typing.get_args(option)
    if typing.get_origin(option) is tuple:
      repeated = args[-1] is Ellipsis
      if isinstance(value, tuple | list) and (repeated or len(args) == len(value)):
        with contextlib.suppress(TypeError):  # The message is about the whole tuple.
          return tuple(convert(v, args[0] if repeated else args[i]) for i, v in enumerate(value))
    elif option is float and type(value) in (int, float):
      with contextlib.suppress(OverflowError):  # Of an int that no float can hold.
        if math.isfinite(value):
          return float(value)
      raise TypeError('must be a finite number')
    elif type(value) is option:  # Not isinstance, because True is not an int here.
      return value
  if any(value == choice and type(value) is type(choice) for choice in choices(hint)):
    return value
  near = difflib.get_close_matches(str(value), map(str, choices(hint)), n=1, cutoff=0.4)
  raise TypeError(f'must be {describe(hint)}' + (f"; did you mean '{near[0]}'?" if near else ''))
