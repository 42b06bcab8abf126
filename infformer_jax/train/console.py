"""Lines for the people who watch."""

import sys

import jax


class Console:
  """Prints, from process 0 alone. On a terminal a status line is rewritten in place by what comes next."""

  def __init__(self) -> None:
    self._rewrites = sys.stdout.isatty()
    self._status = False  # whether the cursor stands behind a status line
    self.status_seconds = 0.5 if self._rewrites else 10.0  # how often a status line is worth a look

  def say(self, line: str) -> None:
    """A line that stays."""
    self._print(line, end='\n')
    self._status = False

  def status(self, line: str) -> None:
    """A line that holds until the next; elsewhere than on a terminal it stays too."""
    self._print(line, end='' if self._rewrites else '\n')
    self._status = self._rewrites

  def end_status(self) -> None:
    """Before something else is printed: leaves the status line as it is."""
    if self._status:
      print()
    self._status = False

  def _print(self, line: str, end: str) -> None:
    if jax.process_index() == 0:
      print(f'\r\x1b[K{line}' if self._status else line, end=end, flush=True)
