"""What the user can correct. The other reasons for which a run ends are in train/exits.py."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """Something that the user can mend: the command lines print it as one line and exit with 2."""


class ConfigError(UserError, ValueError):
  """A key, value or combination that the config does not allow."""


def unknown(what: str, key: str, name: str, allowed: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
  """The sentence about a name that does not exist: the nearest one, and what is allowed."""
  allowed = list(allowed)
  near = [*elsewhere, *difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)]
  suggestion = f"; did you mean '{near[0]}'?" if near else ''
  return f"unknown {what} '{key}'{suggestion} (allowed: {', '.join(allowed) or 'none'})"
