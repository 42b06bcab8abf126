"""Status lines and progress on the terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO, TypeVar

_T = TypeVar('_T')
_DELAY = 2.0  # seconds before `tracked` prints its first line


class Console:
  """Prints lines. On a terminal, the next line replaces a status line."""

  def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
    """
    Args:
      stream: where the lines go; None: standard output.
      quiet: print nothing, as every process of a run but the first does.
    """
    self._stream = sys.stdout if stream is None else stream
    self._quiet = quiet
    self._rewrites = self._stream.isatty()
    self._status = False  # whether the cursor is at the end of a status line
    self.status_seconds = 0.5 if self._rewrites else 10.0  # how often a status line is worth printing

  def say(self, line: str) -> None:
    """Prints a line that stays."""
    self._print(line, end='\n')
    self._status = False

  def status(self, line: str) -> None:
    """Prints a line that the next line replaces; if the stream is not a terminal, the line stays too."""
    self._print(line, end='' if self._rewrites else '\n')
    self._status = self._rewrites

  def end_status(self) -> None:
    """Ends the status line, which stays; to be called before anything else is printed."""
    if self._status and not self._quiet:
      print(file=self._stream, flush=True)
    self._status = False

  def _print(self, line: str, end: str) -> None:
    if not self._quiet:
      encoding = self._stream.encoding or 'utf-8'  # A path may have characters that it lacks.
      line = line.encode(encoding, 'backslashreplace').decode(encoding)
      print(f'\r\x1b[K{line}' if self._status else line, end=end, file=self._stream, flush=True)


class Progress:
  """Reports how much of a known amount of work is done, at what rate, and the time left.

  >>> progress = Progress(print, 'tokenizing:', 2000, unit='documents', every=0, after=0)
  >>> progress.update(1000)
  tokenizing: 1,000 of 2,000 documents, ... documents/s, 0:00 left
  """

  def __init__(
    self,
    report: Callable[[str], None],
    label: str,
    total: int,
    *,
    every: float,
    after: float,
    unit: str | None = None,
    done: int = 0,
    compiles: bool = False,
  ):
    """Starts the clock.

    Args:
      report: takes a line.
      label: the start of a line.
      total: the amount of work.
      every: seconds between two lines, at least.
      after: seconds before the first line, at least.
      unit: what is counted, as in '1,000 of 2,000 documents'; None for ordinals, as in 'step 1000 of 2000'.
      done: the amount of work that was done before the start.
      compiles: the first update starts the clock, because the work before it includes a compilation.
    """
    self._report, self._label, self._total, self._unit, self._first = report, label, total, unit, done
    self._every, self._after, self._reported = every, after, False
    self._waits = compiles
    self._start = time.monotonic()
    self._next = self._start + after

  def due(self, done: int) -> bool:
    """Whether `update` reports: enough time has passed, or earlier lines need the one about the end."""
    if self._waits:
      return False
    return time.monotonic() >= self._next or (self._reported and done >= self._total)

  def update(self, done: int, rate: Callable[[float], str] | None = None) -> None:
    """Takes the amount of work that is done now, and reports it if a line is due.

    Args:
      done: the amount of work.
      rate: what the line says about the rate, given the seconds since the start; None: units per second.
    """
    if not self.due(done):
      if self._waits:
        self._waits, self._first, self._start = False, done, time.monotonic()
        self._next = self._start + self._after
      return
    now = time.monotonic()
    self._next, self._reported = now + self._every, True
    seconds, new = max(now - self._start, 1e-9), max(done - self._first, 1e-9)
    amount = f'{done} of {self._total}'
    if self._unit is not None:
      amount = f'{done:,} of {self._total:,} {self._unit}'
    speed = new / seconds
    text = rate(seconds) if rate else f'{speed:{",.0f" if speed >= 10 else ".2g"}} {self._unit}/s'
    left = duration((self._total - done) / speed)
    self._report(f'{self._label} {amount}, {text}, {left} left')


def tracked(items: Sequence[_T], label: str, unit: str) -> Iterator[_T]:
  """Iterates over `items` and reports the progress on standard error if it takes longer than two seconds.

  Args:
    items: what to iterate over.
    label: the start of a line, such as 'tokenizing train:'.
    unit: what the items are, such as 'documents'.
  """
  console = Console(sys.stderr)
  progress = Progress(
    console.status, label, len(items), unit=unit, every=console.status_seconds, after=_DELAY
  )
  try:
    for done, item in enumerate(items, 1):
      yield item
      progress.update(done)
  finally:
    console.end_status()


def duration(seconds: float) -> str:
  """In hours, minutes and seconds.

  >>> duration(4000)
  '1:06:40'
  """
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
