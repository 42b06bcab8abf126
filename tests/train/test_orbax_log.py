"""The log lines and ignored errors of Orbax that are dropped."""

import logging
import sys
import types
import warnings

import pytest

from infformer_jax.train.orbax_log import silence_orbax


@pytest.fixture
def unraised(monkeypatch):
  """Hushes Orbax for one test; the errors that reach the hook of before."""
  seen = []
  monkeypatch.setattr(sys, 'unraisablehook', seen.append)
  for name in ('absl', 'asyncio'):
    monkeypatch.setattr(logging.getLogger(name), 'filters', [])
  with warnings.catch_warnings():
    silence_orbax.__wrapped__()
    yield seen


def is_logged(logger: str, path: str, message: str) -> bool:
  record = logging.LogRecord(logger, logging.ERROR, path, 1, message, (), None)
  return bool(logging.getLogger(logger).filter(record))


@pytest.mark.usefixtures('unraised')
def test_only_lines_of_orbax_and_abandoned_tasks_are_dropped():
  assert not is_logged('absl', '/site-packages/orbax/checkpoint/handler.py', 'a traceback')
  assert is_logged('absl', '/site-packages/absl/app.py', 'a traceback')
  assert not is_logged('asyncio', 'base_events.py', 'Task exception was never retrieved')
  assert is_logged('asyncio', 'base_events.py', 'Executing took 2 seconds')


def test_abandoned_writes_do_not_warn(recwarn, unraised):
  async def write():
    pass

  write()  # Warns where it is deleted.
  assert not unraised
  assert [str(each.message) for each in recwarn] == []


def test_only_ignored_errors_of_orbax_are_dropped(unraised):
  def error(text: str, path: str | None = None) -> types.SimpleNamespace:
    code = types.SimpleNamespace(co_filename=path)
    return types.SimpleNamespace(
      exc_value=Exception(text), object=path and types.SimpleNamespace(cr_code=code)
    )

  others = [error('in a destructor'), error('never awaited', '/site-packages/grain/loader.py')]
  for each in (
    error('never awaited', '/site-packages/orbax/checkpoint/handler.py'),
    error('Event loop is closed'),
    *others,
  ):
    sys.unraisablehook(each)
  assert unraised == others
