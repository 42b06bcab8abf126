"""Metrics: sums and counts until they are logged, then lines of JSON and TensorBoard events."""

import json
import math
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence

import jax
from etils import epath
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from infformer_jax import paths
from infformer_jax.train.appended import appended
from infformer_jax.train.exits import SaveError, UnreachableError
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

  def __init__(self, workdir: epath.Path, *, step: int):
    """Resumes after `step`: lines of later steps, which a killed run has written, are removed."""
    self._writes = jax.process_index() == 0
    if self._writes:
      self._path = workdir / 'metrics.jsonl'
      content = paths.read_bytes(self._path) if self._path.exists() else b''
      self._lines = appended(self._path, _lines_until(content, step))
      # Not tensorboardX's writers: one loses errors in a thread, and one replaces its object at every event.
      name = f'events.out.tfevents.{int(time.time())}.{socket.gethostname()}.after{step}'
      self._events = appended(workdir / 'tensorboard' / name)
      self._write_event(file_version='brain.Event:2')
      # Makes TensorBoard discard the events of later steps in other files.
      self._write_event(step=step + 1, session_log=SessionLog(status=SessionLog.START))

  def write(self, step: int, split: str, values: Mapping[str, float | None]) -> None:
    """Writes one line. Values that are not finite become null, since JSON has no others.

    Raises:
      SaveError: the disk is full.
      UnreachableError: the bucket cannot be reached.
    """
    finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
    line = {'step': step, 'split': split, **dict.fromkeys(values), **finite}

    def write() -> None:
      self._lines.write((json.dumps(line) + '\n').encode())
      for name, value in finite.items():
        self._write_event(step=step, summary=summary.scalar(f'{split}/{name}', value))

    self._writing(write)

  def flush(self) -> None:
    """Returns when all lines are stored, even if the machine fails now. Raises as `write`."""
    self._writing(self._flush)

  def close(self) -> None:
    """Stores all lines. Raises as `write`."""
    self._writing(self._close)

  def _flush(self) -> None:
    self._lines.flush()
    self._events.flush()

  def _close(self) -> None:
    self._lines.close()
    self._events.close()

  def _writing(self, write: Callable[[], None]) -> None:
    if not self._writes:
      return
    try:
      write()
    except paths.errors() as error:
      kind = SaveError if paths.is_local(self._path) else UnreachableError
      raise kind(f'the metrics could not be written to {self._path}: {paths.reason(error)}') from None

  def _write_event(self, **content: object) -> None:
    self._events.write(_record(Event(wall_time=time.time(), **content)))


def _record(event: Event) -> bytes:
  """An event as TensorBoard reads it: its length and its bytes, each with a checksum."""
  data = event.SerializeToString()
  length = struct.pack('<Q', len(data))
  checksums = [struct.pack('<I', masked_crc32c(part)) for part in (length, data)]
  return length + checksums[0] + data + checksums[1]


def _lines_until(content: bytes, step: int) -> bytes:
  """The lines up to `step`, without an incomplete one and all that follow it."""
  kept = 0
  for line in content.splitlines(keepends=True):
    try:
      if not line.endswith(b'\n') or json.loads(line)['step'] > step:
        break
    except (ValueError, TypeError, KeyError, RecursionError):
      break
    kept += len(line)
  return content[:kept]
