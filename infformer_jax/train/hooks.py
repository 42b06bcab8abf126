"""Hooks run between the steps: progress, metrics, evaluation, plots, checkpoints."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import jax
from flax import nnx
from jax.sharding import Mesh

from infformer_jax.console import Console, Progress
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.metrics import MetricsFile, Totals
from infformer_jax.train.state import TrainState


class Best(NamedTuple):
  """The evaluation with the lowest loss so far."""

  loss: float  # nats per token
  step: int
  # What the loss was measured on; losses on different text are not compared. None: an earlier version of the
  # package, which did not record it, wrote the checkpoint.
  measured_on: Mapping[str, Any] | None = None


@dataclasses.dataclass(kw_only=True)
class Run:
  """The progress of a run. The loop counts the steps; a hook changes only the fields it owns."""

  mesh: Mesh
  graphdef: nnx.GraphDef
  num_steps: int
  step: int  # steps done
  state: TrainState  # after these steps
  totals: Totals  # since the last log
  best: Best | None  # None: no evaluation had a loss yet
  measured_on: Mapping[str, Any]  # of the evaluations of this process
  metrics: MetricsFile
  stopping: bool = False  # the run ends after this step, before its last one

  @property
  def finished(self) -> bool:
    return self.step >= self.num_steps

  @property
  def ended(self) -> bool:
    return self.finished or self.stopping

  @property
  def is_best(self) -> bool:
    """Whether the evaluation at this step was the best so far."""
    return self.best is not None and self.best.step == self.step

  def saved(self) -> dict[str, Any]:
    """The content of a checkpoint besides the state, as JSON; the position in the data is one integer."""
    return {'data_position': self.step, 'totals': self.totals.sums, 'best': self.best}


class Hook(Protocol):
  """Called with the run after a step, when `run.totals` has the metrics of that step."""

  def due(self, run: Run) -> bool:
    """Whether the hook is called. The same on all processes, unless the hook computes nothing on devices."""

  def __call__(self, run: Run) -> None: ...


class Every:
  """Calls a function at an interval of steps, and after the last step."""

  def __init__(self, steps: int, do: Callable[[Run], None]):
    self._steps, self._do = steps, do

  def due(self, run: Run) -> bool:
    return run.step % self._steps == 0 or run.finished

  def __call__(self, run: Run) -> None:
    self._do(run)


def log(run: Run) -> None:
  """Writes the training metrics since the last log, and how many steps of the run were skipped until now."""
  skipped = run.step - int(jax.device_get(run.state.step))
  run.metrics.write(run.step, 'train', run.totals.take() | {'skipped_steps': skipped})


class Evaluation(Every):
  """Evaluates, writes the metrics and remembers the step with the lowest loss."""

  def __init__(self, steps: int, split: str, evaluate: Callable[[Run], Mapping[str, float | None]]):
    """
    Args:
      steps: between evaluations.
      split: the `split` of the lines in the metrics.
      evaluate: metrics, `loss_nats_per_token` among them.
    """
    super().__init__(steps, self._evaluate)
    self._split, self._metrics_of = split, evaluate

  def _evaluate(self, run: Run) -> None:
    values = self._metrics_of(run)
    run.metrics.write(run.step, self._split, values)
    loss = values['loss_nats_per_token']
    if loss is not None and loss < (run.best.loss if run.best else math.inf):
      run.best = Best(loss, run.step, run.measured_on)


def comparable(best: Best | None, measured_on: Mapping[str, Any], say: Callable[[str], None]) -> Best | None:
  """The best of a restored run; None, after a message, if the evaluations measure something else now."""
  if best is None or best.measured_on == measured_on:
    return best
  if best.measured_on is None:
    why = 'an earlier version of the package did not record what it was measured on'
  else:
    why = '; '.join(_changes(best.measured_on, measured_on))
  say(
    f'the lowest loss, {best.loss:.4f} at step {best.step}, cannot be compared with later ones ({why}): '
    f'the best restarts, and checkpoint {best.step} is no longer kept as the best'
  )
  return None


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
  for key in sorted({*old, *new}):
    if old.get(key) != new.get(key):
      before, now = str(old.get(key)), str(new.get(key))
      yield f'{key}: {before[:12]}, now {now[:12]}'  # The start of a hash is enough.


class Save(Every):
  """Saves a checkpoint at an interval of steps, after the last, when the run stops, and at the best step."""

  def __init__(self, steps: int, checkpoints: Checkpoints):
    super().__init__(steps, self._save)
    self._checkpoints = checkpoints

  def due(self, run: Run) -> bool:
    return super().due(run) or run.stopping or run.is_best

  def _save(self, run: Run) -> None:
    run.metrics.flush()  # First, because every line up to the step of a checkpoint must be on the disk.
    best = run.best.step if run.best else None
    self._checkpoints.save(run.step, run.state, run.saved(), best=best)


class StatusLine:
  """The status line of a training run: step, loss, tokens/s and time left."""

  def __init__(self, console: Console, *, step: int, num_steps: int):
    """Counts from `step`, the current one, to `num_steps`."""
    self._progress = Progress(
      console.status, 'step', num_steps, every=console.status_seconds, after=0, done=step
    )

  def due(self, run: Run) -> bool:
    return self._progress.due(run.step)

  def __call__(self, run: Run) -> None:
    means = run.totals.means()
    loss = means['loss_nats_per_token']  # None until the first answer was seen.
    text = f'loss {"-" if loss is None else f"{loss:.3f}"} nats/token'
    speed = means['tokens_per_second']  # Excludes evaluations.
    self._progress.update(run.step, lambda _: f'{text}, {speed:,.0f} tokens/s')
