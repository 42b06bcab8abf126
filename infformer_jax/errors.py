"""Errors that the user can correct. The other reasons for which a run ends are in train/exits.py."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """An error that the user can correct. The command lines print it as one line and exit with its `code`."""

  code = 2

  @property
  def line(self) -> str:
    return f'error: {" ".join(str(self).splitlines())}'


class UnavailableError(UserError):
  """A bucket cannot be reached; the same command may succeed later. The code is EX_TEMPFAIL of sysexits.h."""

  code = 75


class ConfigError(UserError, ValueError):
  """A key, value or combination that the config does not allow."""


def unknown(what: str, key: str, name: str, allowed: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
  """The message about an unknown name, with the most similar name and the allowed ones.

  Args:
    what: the kind of name, such as 'key'.
    key: the name as the user wrote it.
    name: the part of it that is compared with `allowed`.
    allowed: the valid names.
    elsewhere: names that are suggested first.
  """
  allowed = list(allowed)
  near = [*elsewhere, *difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)]
  suggestion = f"; did you mean '{near[0]}'?" if near else ''
  return f"unknown {what} '{key}'{suggestion} (allowed: {', '.join(allowed) or 'none'})"


def check_range(name: str, value: int | None, least: int, most: int = 2**31 - 1) -> None:
  """Checks an integer, which is valid from `least` to `most`, both included; None passes.

  Raises:
    ConfigError: it is outside; names it, its value and the range.

  >>> check_range('num_layers', 0, 1)
  Traceback (most recent call last):
  infformer_jax.errors.ConfigError: num_layers = 0 must be in [1, 2^31 - 1]
  """
  if value is not None and not least <= value <= most:
    is_power = most >= 2**16 and (most + 1) & most == 0
    text = f'2^{most.bit_length()} - 1' if is_power else f'{most:,}'
    raise ConfigError(f'{name} = {value} must be in [{least}, {text}]')
