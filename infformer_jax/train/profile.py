"""A trace of some steps of a run, for TensorBoard's and XProf's profile viewers (`train.profile_steps`)."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

import jax
from etils import epath

from infformer_jax import files
from infformer_jax.train.hooks import Run


class Profile:
  """Traces the host and the devices of process 0 while it runs steps a to b, into W/profile.

  It has no calls of Python functions. The trace is written to a temporary folder, because the profiler does
  not write to buckets, and copied when it is complete. A run that stops between a and b has the trace until
  then; one that resumes there traces the rest.
  """

  def __init__(self, steps: tuple[int, int] | None, folder: epath.Path):
    """
    Args:
      steps: a and b, counted from 1; None: no trace.
      folder: W/profile.
    """
    self._first, self._last = steps if steps and jax.process_index() == 0 else (0, 0)
    self._folder = folder
    self._stack = contextlib.ExitStack()
    self._tracing = False

  def __enter__(self) -> 'Profile':
    return self

  def __exit__(self, *exception: object) -> None:
    self._stop()

  @contextlib.contextmanager
  def step(self, run: Run) -> Iterator[None]:
    """Surrounds the call of the step after `run.step`."""
    step = run.step + 1
    if self._first <= step <= self._last and not self._tracing:
      jax.block_until_ready(run.state)  # The step before is not part of the trace.
      self._tracing = True
      self._stack.enter_context(_trace(self._folder))
    with jax.profiler.StepTraceAnnotation('train', step_num=step):
      yield
    if self._tracing and step == self._last:
      jax.block_until_ready(run.state)
      self._stop()

  def _stop(self) -> None:
    self._tracing = False
    self._stack.close()


@contextlib.contextmanager
def _trace(folder: epath.Path) -> Iterator[None]:
  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0  # It hooks into all threads, also those that save a checkpoint.
  with tempfile.TemporaryDirectory() as temporary:
    try:
      with jax.profiler.trace(temporary, profiler_options=options):
        yield
    finally:
      for file in pathlib.Path(temporary).rglob('*'):
        if file.is_file():
          files.write_bytes(folder / str(file.relative_to(temporary)), file.read_bytes())
