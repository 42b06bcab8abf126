"""Metrics: sums and counts until they are logged, then lines of JSON and TensorBoard events."""

import json
import math
import os
import pathlib
import time
from collections.abc import Mapping, Sequence

import jax
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from infformer_jax.train.exits import SaveError
from infformer_jax.types import SumCount


class Totals:
  """Sums and counts since the last log, in float64 on the host."""

  def __init__(self, sums: Mapping[str, Sequence[float]]):
    """Starts from the `sums` of a checkpoint."""
    self.sums = {name: list(sum_count) for name, sum_count in sums.items()}

  def add(self, metrics: Mapping[str, SumCount]) -> None:
    for name, (total, count) in metrics.items():
      mine = self.sums.setdefault(name, [0.0, 0.0])
      mine[0] += float(total)
      mine[1] += float(count)

  def means(self) -> dict[str, float | None]:
    """sum / count; None where the count is 0."""
    return {name: total / count if count else None for name, (total, count) in self.sums.items()}

  def take(self) -> dict[str, float | None]:
    """The means; restarts the sums."""
    means, self.sums = self.means(), {}
    return means


class MetricsFile:
  """W/metrics.jsonl and W/tensorboard, written by process 0 only.

  A line is {"step": 200, "split": "train", "loss_nats_per_token": 3.2, ...}.
  """

  def __init__(self, workdir: pathlib.Path, *, step: int):
    """Resumes after `step`: lines of later steps, which a killed run has written, are removed."""
    self._writes = jax.process_index() == 0
    if self._writes:
      cut(workdir / 'metrics.jsonl', step)
      self._file = open(workdir / 'metrics.jsonl', 'ab', buffering=0)  # noqa: SIM115
      (workdir / 'tensorboard').mkdir(exist_ok=True)
      # Not SummaryWriter: it writes in a thread, which a full disk ends silently.
      self._board = EventsWriter(str(workdir / 'tensorboard' / 'events'), f'.after{step}')
      # Makes TensorBoard discard the events of later steps in other files.
      self._write_event(step=step + 1, session_log=SessionLog(status=SessionLog.START))

  def write(self, step: int, split: str, values: Mapping[str, float | None]) -> None:
    """Writes one line. Values that are not finite become null, since JSON has no others.

    Raises:
      SaveError: the disk is full.
    """
    if not self._writes:
      return
    finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
    line = {'step': step, 'split': split, **dict.fromkeys(values), **finite}
    try:
      self._file.write((json.dumps(line) + '\n').encode())
      for name, value in finite.items():
        self._write_event(step=step, summary=summary.scalar(f'{split}/{name}', value))
      self._board.flush()
    except OSError as error:
      raise SaveError(
        f'the metrics of step {step} could not be written to {self._file.name}: {error}'
      ) from None

  def flush(self) -> None:
    """Returns when all lines are on the disk, even if the machine fails now."""
    if self._writes:
      os.fsync(self._file.fileno())

  def close(self) -> None:
    if self._writes:
      self._file.close()
      self._board.close()

  def _write_event(self, **content: object) -> None:
    self._board.write_event(Event(wall_time=time.time(), **content))


def cut(path: pathlib.Path, step: int) -> None:
  """Removes the lines after `step` from a metrics file, and an incomplete last line."""
  if not path.exists():
    return
  kept = 0
  with open(path, 'rb+') as file:
    for line in file:
      try:
        if not line.endswith(b'\n') or json.loads(line)['step'] > step:
          break
      except ValueError:
        break
      kept += len(line)
    file.truncate(kept)
