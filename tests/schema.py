"""Checks that a JSON value conforms to a TypedDict."""

import types
import typing


def assert_conforms(value, hint, path='value'):
  """Raises AssertionError with the path if a key is missing or unknown, or a type does not match."""
  origin, arguments = typing.get_origin(hint), typing.get_args(hint)
  if hint is typing.Any:
    return
  if origin is typing.NotRequired:
    assert_conforms(value, arguments[0], path)
  elif typing.is_typeddict(hint):
    assert isinstance(value, dict), f'{path} is {value!r}'
    hints = typing.get_type_hints(hint, include_extras=True)
    missing, unknown = hint.__required_keys__ - value.keys(), value.keys() - hints.keys()
    assert not missing, f'{path} lacks {missing}'
    assert not unknown, f'{path} has unknown keys {unknown}'
    for key, item in value.items():
      assert_conforms(item, hints[key], f'{path}.{key}')
  elif origin is dict:
    assert isinstance(value, dict), f'{path} is {value!r}'
    for key, item in value.items():
      assert_conforms(key, arguments[0], f'{path}, key {key}')
      assert_conforms(item, arguments[1], f'{path}.{key}')
  elif origin is list:
    assert isinstance(value, list), f'{path} is {value!r}'
    for index, item in enumerate(value):
      assert_conforms(item, arguments[0], f'{path}[{index}]')
  elif origin is typing.Literal:
    assert value in arguments, f'{path} = {value!r}'
  elif origin is types.UnionType:
    if value is not None or type(None) not in arguments:
      (only,) = [argument for argument in arguments if argument is not type(None)]
      assert_conforms(value, only, path)
  else:
    allowed = (int, float) if hint is float else hint
    assert isinstance(value, allowed), f'{path} = {value!r} is no {hint.__name__}'
    assert hint is bool or not isinstance(value, bool), f'{path} = {value!r} is no {hint.__name__}'
