"""Status lines on terminals and in files, and the reporting of progress."""

import io
import types

import pytest

from infformer_jax import console
from infformer_jax.console import Console, Progress, tracked


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


@pytest.fixture
def clock(monkeypatch):
  """A clock that returns `now`."""
  clock = types.SimpleNamespace(now=100.0)
  monkeypatch.setattr(console.time, 'monotonic', lambda: clock.now)
  return clock


def test_on_a_terminal_the_next_line_replaces_a_status_line():
  stream = Terminal()
  lines = Console(stream)
  lines.status('one')
  lines.status('two')
  lines.say('three')
  lines.say('four')
  assert stream.getvalue() == 'one\r\x1b[Ktwo\r\x1b[Kthree\nfour\n'


@pytest.mark.parametrize(('encoding', 'printed'), [('utf-8', 'a\\udcff é\n'), ('ascii', 'a\\udcff \\xe9\n')])
def test_what_the_stream_cannot_print_is_escaped(encoding, printed):
  stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
  Console(stream).say('a\udcff é')
  assert stream.buffer.getvalue().decode(encoding) == printed


def test_a_finished_status_line_is_kept():
  stream = Terminal()
  lines = Console(stream)
  lines.status('one')
  lines.end_status()
  lines.end_status()
  lines.say('two')
  assert stream.getvalue() == 'one\ntwo\n'


def test_in_a_file_every_line_is_kept():
  stream = io.StringIO()
  lines = Console(stream)
  lines.status('one')
  lines.end_status()
  lines.say('two')
  assert stream.getvalue() == 'one\ntwo\n'
  assert lines.status_seconds > Console(Terminal()).status_seconds


def test_a_quiet_console_prints_nothing():
  stream = Terminal()
  lines = Console(stream, quiet=True)
  lines.say('one')
  lines.status('two')
  lines.end_status()
  assert stream.getvalue() == ''


def test_the_default_stream_is_standard_output(capsys):
  Console().say('line')
  assert capsys.readouterr() == ('line\n', '')


def test_progress_contains_amount_rate_and_remaining_time(clock):
  lines: list[str] = []
  progress = Progress(lines.append, 'reading:', 10_000, unit='tokens', every=0, after=0, done=1000)
  clock.now += 2
  progress.update(3000)
  assert lines == ['reading: 3,000 of 10,000 tokens, 1,000 tokens/s, 0:07 left']


def test_progress_supports_ordinals_and_a_custom_rate(clock):
  lines: list[str] = []
  progress = Progress(lines.append, 'step', 10_000, every=0, after=0)
  clock.now += 2
  progress.update(1000, lambda seconds: f'{seconds:.0f} s so far')
  assert lines == ['step 1000 of 10000, 2 s so far, 0:18 left']


def test_progress_waits_before_the_first_line_and_between_lines(clock):
  lines: list[str] = []
  progress = Progress(lines.append, 'at', 100, every=5, after=2)
  for done in range(1, 100):
    clock.now += 1
    assert progress.due(done) == (done in range(2, 100, 5))
    progress.update(done, lambda _: '')
  assert len(lines) == len(range(2, 100, 5))


def test_the_end_is_reported_only_after_an_earlier_report(clock):
  lines: list[str] = []
  for seconds in (0, 3):
    progress = Progress(lines.append, 'at', 2, every=5, after=2)
    clock.now += seconds
    progress.update(1, lambda _: '-')
    progress.update(2, lambda _: '-')
  assert lines == ['at 1 of 2, -, 0:03 left', 'at 2 of 2, -, 0:00 left']


def test_compilation_time_is_excluded_from_the_rate(clock):
  lines: list[str] = []
  progress = Progress(lines.append, 'at', 5, unit='chunks', every=1, after=1, compiles=True)
  clock.now += 60
  progress.update(1)
  clock.now += 1
  progress.update(2)
  assert lines == ['at 2 of 5 chunks, 1 chunks/s, 0:03 left']


def test_tracking_quick_items_yields_all_and_prints_nothing(clock, capsys):
  assert list(tracked('abc', 'reading:', 'letters')) == ['a', 'b', 'c']
  assert capsys.readouterr() == ('', '')


def test_tracking_slow_items_reports_on_standard_error(clock, capsys):
  for _ in tracked('abc', 'reading:', 'letters'):
    clock.now += 1.5
  out, err = capsys.readouterr()
  assert out == ''
  assert err.splitlines() == [
    'reading: 2 of 3 letters, 0.67 letters/s, 0:02 left',
    'reading: 3 of 3 letters, 0.67 letters/s, 0:00 left',
  ]


def test_leaving_a_tracked_loop_early_finishes_the_status_line(clock, monkeypatch):
  monkeypatch.setattr('sys.stderr', stream := Terminal())
  items = tracked('abc', 'reading:', 'letters')
  next(items)
  clock.now += 3
  next(items)
  items.close()
  assert stream.getvalue() == 'reading: 1 of 3 letters, 0.33 letters/s, 0:06 left\n'
