"""The trace of some steps of a run."""

import contextlib
import types

import jax
import jax.numpy as jnp
import pytest

from infformer_jax.train.profile import Profile


def run_steps(profile: Profile, first: int, last: int) -> None:
  run = types.SimpleNamespace(step=first - 1, state=jnp.zeros(2))
  with profile:
    while run.step < last:
      with profile.step(run):
        run.state = run.state + 1
      run.step += 1


@pytest.fixture
def traced(monkeypatch):
  """The events of the profiler, which is replaced."""
  events = []

  class Trace:
    def __init__(self, folder, *, profiler_options):
      assert profiler_options.python_tracer_level == 0

    def __enter__(self):
      events.append('start')

    def __exit__(self, *exception):
      events.append('stop')

  monkeypatch.setattr(jax.profiler, 'trace', Trace)
  monkeypatch.setattr(
    jax.profiler, 'StepTraceAnnotation', lambda _, step_num: contextlib.nullcontext(events.append(step_num))
  )
  return events


@pytest.mark.parametrize(
  ('first', 'last', 'expected'),
  [
    (1, 5, [1, 'start', 2, 3, 'stop', 4, 5]),
    (3, 5, ['start', 3, 'stop', 4, 5]),  # It resumes after step 2.
    (1, 2, [1, 'start', 2, 'stop']),  # It ends after step 2.
    (4, 5, [4, 5]),
  ],
)
def test_the_trace_has_the_steps_of_the_range(traced, tmp_path, first, last, expected):
  run_steps(Profile((2, 3), tmp_path / 'profile'), first, last)
  assert traced == expected


def test_no_steps_are_no_trace(traced, tmp_path):
  run_steps(Profile(None, tmp_path / 'profile'), 1, 2)
  assert traced == [1, 2]


def test_only_process_0_traces(traced, tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  run_steps(Profile((1, 2), tmp_path / 'profile'), 1, 2)
  assert traced == [1, 2]


def test_the_trace_is_in_the_work_directory_on_a_disk_and_in_a_bucket(place):
  run_steps(Profile((2, 3), place / 'profile'), 1, 4)
  (day,) = (place / 'profile' / 'plugins' / 'profile').iterdir()
  names = [file.name for file in day.iterdir()]
  assert any(name.endswith('.xplane.pb') for name in names), names
