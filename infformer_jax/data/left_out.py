"""What is not part of the data: names of files and folders by the reason, for a line of text and for JSON."""

import os
from collections.abc import Mapping, Sequence

LeftOut = Mapping[str, Sequence[str]]
"""Names of files and folders that are not part of the data, by the reason."""

_NAMED = 3  # names per reason in a summary


def described(left_out: LeftOut) -> str:
  """' (left out: ...)' with every reason, count and some names, or nothing.

  >>> described({'hidden': ['.git', '.a', '.b', '.c'], 'dangling link': ['more']})
  ' (left out: 4 hidden: .git, .a, .b, ...; 1 dangling link: more)'
  """
  reasons = []
  for reason, names in left_out.items():
    more = ', ...' if len(names) > _NAMED else ''
    reasons.append(f'{len(names):,} {reason}: {", ".join(_first(names))}{more}')
  return f' (left out: {"; ".join(reasons)})' if reasons else ''


def counted(left_out: LeftOut) -> dict[str, dict[str, int | list[str]]]:
  """The same for JSON: by reason, the count and the first names."""
  return {reason: {'count': len(names), 'first': _first(names)} for reason, names in left_out.items()}


def _first(names: Sequence[str]) -> list[str]:
  """Some of the names. One that is not UTF-8 can be a path, but cannot be printed."""
  return [os.fsencode(name).decode(errors='backslashreplace') for name in names[:_NAMED]]
