"""Metrics: sums and counts between logs, and lines that survive a kill."""

import json
import os
import struct

import pytest
from etils import epath
from tensorboardX.proto.event_pb2 import Event, SessionLog

from infformer_jax.train.exits import SaveError
from infformer_jax.train.metrics import MetricsFile, Totals


def lines(workdir) -> list[dict]:
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def events(workdir) -> list[Event]:
  """All TensorBoard events, in the order of the files."""
  all_events = []
  for file in sorted((workdir / 'tensorboard').iterdir()):
    content = file.read_bytes()
    while content:
      (length,) = struct.unpack('<Q', content[:8])
      all_events.append(Event.FromString(content[12 : 12 + length]))
      content = content[16 + length :]
  return all_events


def test_means_are_weighted_by_the_counts():
  totals = Totals({})
  totals.add({'loss': (6.0, 2.0), 'kl': (0.0, 0.0)})
  totals.add({'loss': (1.0, 5.0), 'kl': (0.0, 0.0)})
  assert totals.means() == {'loss': 1.0, 'kl': None}
  assert totals.take() == {'loss': 1.0, 'kl': None}
  assert totals.take() == {}


def test_totals_resume_from_a_checkpoint():
  whole, first = Totals({}), Totals({})
  pairs = [(0.1, 3.0), (0.7, 5.0), (1e-9, 1.0)]
  for pair in pairs:
    whole.add({'loss': pair})
  first.add({'loss': pairs[0]})
  second = Totals(json.loads(json.dumps(first.sums)))
  for pair in pairs[1:]:
    second.add({'loss': pair})
  assert second.sums == whole.sums  # Bit for bit: the sums are float64, which JSON preserves.


def test_a_line_contains_step_split_and_null_for_values_that_are_not_finite(place):
  metrics = MetricsFile(place, step=0)
  metrics.write(3, 'train', {'loss_nats_per_token': 1.5, 'kl': None, 'norm': float('nan')})
  metrics.flush()
  assert lines(place) == [{'step': 3, 'split': 'train', 'loss_nats_per_token': 1.5, 'kl': None, 'norm': None}]
  metrics.close()
  scalars = [(event.step, v.tag, v.simple_value) for event in events(place) for v in event.summary.value]
  assert scalars == [(3, 'train/loss_nats_per_token', 1.5)]


def test_on_a_disk_a_line_is_there_at_once(tmp_path):
  metrics = MetricsFile(epath.Path(tmp_path), step=0)
  metrics.write(3, 'train', {'loss': 1.5})
  assert [line['step'] for line in lines(tmp_path)] == [3]


def test_resuming_removes_later_lines(place):
  metrics = MetricsFile(place, step=0)
  for step in (2, 4, 5, 6):
    metrics.write(step, 'train', {'loss': float(step)})
  metrics.close()
  metrics = MetricsFile(place, step=4)
  metrics.write(5, 'train', {'loss': 50.0})
  metrics.close()
  assert [(line['step'], line['loss']) for line in lines(place)] == [(2, 2.0), (4, 4.0), (5, 50.0)]
  starts = [event.step for event in events(place) if event.session_log.status == SessionLog.START]
  assert starts == [1, 5]  # TensorBoard discards later events in other files.


@pytest.mark.parametrize(
  'torn',
  [
    *('{"step": 3, "spl', '{"step": 3}', '\x00\x00\x00', '{"step": 9}\n{"step": 3}\n'),
    *('null\n', '{}\n', '{"step": "x"}\n', '[' * 100_000 + '\n'),
  ],
)
def test_an_incomplete_line_and_all_lines_after_it_are_removed(place, torn):
  path = place / 'metrics.jsonl'
  path.write_text('{"step": 1}\n{"step": 2}\n' + torn)
  MetricsFile(place, step=5).close()
  assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize('make', [os.mkdir, os.mkfifo, lambda path: os.symlink('/dev/null', path)])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
  make(tmp_path / 'metrics.jsonl')
  with pytest.raises(OSError, match=r'metrics\.jsonl'):
    MetricsFile(epath.Path(tmp_path), step=0)


def test_a_full_disk_is_a_one_line_error(tmp_path, monkeypatch):
  metrics = MetricsFile(epath.Path(tmp_path), step=0)
  metrics._lines.close()
  metrics._lines._file = open('/dev/full', 'ab', buffering=0)  # noqa: SIM115
  with pytest.raises(SaveError, match='the metrics could not be written to .*No space left on device'):
    metrics.write(7, 'train', {'loss': 1.0})
