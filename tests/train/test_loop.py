"""The training loop and its hooks: the order of events at a step, and the end of a run."""

import contextlib
import copy
import dataclasses
import itertools
import json
import os
import pathlib
import re
import signal
import time

import chex
import jax
import pytest
from jax._src.array import ArrayImpl

from infformer_jax.errors import ConfigError
from infformer_jax.train import step as step_module
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.exits import Terminated
from infformer_jax.train.hooks import Evaluation, Every
from infformer_jax.train.loop import TrainConfig, train
from infformer_jax.train.optimizer import OptimizerConfig
from tests import toy

CONFIG = TrainConfig(
  num_steps=20,
  batch_size=4,
  segments_per_chunk=toy.SEGMENTS,
  log_every=2,
  checkpoint_every=4,
  evaluate_every=3,
  optimizer=OptimizerConfig(warmup_steps=2),
)
MODEL = toy.config()
VALIDATION = {3: 5.0, 6: 4.0, 9: 4.5}
"""The loss of each evaluation, by step."""


class Watched:
  """A console that records its lines."""

  status_seconds = 0.0

  def __init__(self):
    self.lines: list[str] = []

  def say(self, line: str) -> None:
    self.lines.append(line)

  status = say


def on_disk(workdir: pathlib.Path) -> list[tuple[int, str]]:
  lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  return [(line['step'], line['split']) for line in lines]


@pytest.fixture(scope='module')
def watched(tmp_path_factory):
  """A run that receives SIGTERM after step 9: its directory, its lines, and the files at each hook."""
  workdir, console = tmp_path_factory.mktemp('run'), Watched()
  seen, positions = [], []
  handler = signal.getsignal(signal.SIGTERM)

  def batches(position: int):
    positions.append(position)
    return itertools.repeat(toy.batch())

  def look(run) -> None:
    seen.append((run.step, copy.deepcopy(run.totals.sums), int(run.state.step), on_disk(workdir)))
    if run.step == 9:
      os.kill(os.getpid(), signal.SIGTERM)

  def validate(run):
    return {'loss_nats_per_token': VALIDATION[run.step]}

  with pytest.raises(Terminated, match='received SIGTERM; checkpoint 10 is saved, '):
    train(
      CONFIG,
      MODEL,
      vocab_size=toy.VOCABULARY,
      seed=0,
      batches=batches,
      workdir=workdir,
      hooks=[Evaluation(3, 'validation', validate), Every(1, look)],
      measured_on={},
      console=console,
    )
  assert signal.getsignal(signal.SIGTERM) is handler
  assert positions == [0]
  return workdir, console.lines, seen


def test_a_step_logs_first_then_evaluates_then_calls_other_hooks(watched):
  _, _, seen = watched
  for step, _, state_step, lines in seen:
    assert state_step == step
    assert ((step, 'train') in lines) == (step % 2 == 0)
    assert ((step, 'validation') in lines) == (step % 3 == 0)


def test_the_totals_at_a_hook_cover_all_steps_since_the_last_log(watched):
  _, _, seen = watched
  tokens = toy.batch().ok_bsl.sum()
  for step, sums, _, _ in seen:
    if step % 2 == 0:
      assert sums == {}
    else:
      assert sums['loss_nats_per_token'][1] == tokens
      assert sums['tokens_per_second'][0] == tokens


def test_the_newest_two_checkpoints_and_the_best_are_kept(watched):
  workdir, _, _ = watched
  assert Checkpoints(workdir / 'checkpoints', warn=pytest.fail).steps() == [6, 8, 10]


def test_progress_contains_step_loss_speed_and_remaining_time(watched):
  _, lines, _ = watched
  progress = [line for line in lines if line.startswith('step ')]
  assert len(progress) == 10
  form = r'step \d+ of 20, loss \d\.\d{3} nats/token, [\d,]+ tokens/s, \d+:\d\d left'
  assert all(re.fullmatch(form, line) for line in progress)


@pytest.mark.parametrize(
  'key',
  ['num_steps', 'batch_size', 'segments_per_chunk', 'log_every', 'checkpoint_every', 'max_skipped_steps'],
)
def test_numbers_that_are_not_positive_are_rejected_by_name(key):
  with pytest.raises(ConfigError, match=f'^{key} = 0 '):
    TrainConfig(**{key: 0})


@pytest.mark.parametrize('steps', [(0, 3), (5, 4), (19, 21)])
def test_steps_of_a_profile_that_are_not_in_the_run_are_rejected(steps):
  line = f'profile_steps = {steps} must be a first and a last step, from 1 to num_steps = 20'
  with pytest.raises(ConfigError, match=f'^{re.escape(line)}$'):
    TrainConfig(num_steps=20, profile_steps=steps)


def test_groups_that_do_not_divide_the_lanes_are_rejected():
  with pytest.raises(ConfigError, match='^accumulate_steps = 3 must divide batch_size = 16; use 2$'):
    TrainConfig(accumulate_steps=3)


def short_run(workdir: pathlib.Path, hooks=(), batches=None, num_steps: int = 6, **changes):
  return train(
    dataclasses.replace(CONFIG, num_steps=num_steps, **changes),
    MODEL,
    vocab_size=toy.VOCABULARY,
    seed=0,
    batches=batches or (lambda position: itertools.repeat(toy.batch())),
    workdir=workdir,
    hooks=hooks,
    measured_on={},
    console=Watched(),
  )


def test_the_step_is_traced_once_per_run_also_across_epochs_and_a_resume(tmp_path, monkeypatch):
  chex.clear_trace_counter()
  traced = chex.assert_max_traces(step_module.finite_groups, n=2)  # The step calls it once.
  monkeypatch.setattr(step_module, 'finite_groups', traced)

  def epochs(position: int):
    return itertools.islice(itertools.cycle([toy.batch(seed=1), toy.batch(seed=2)]), position, None)

  short_run(tmp_path, batches=epochs, num_steps=5)
  short_run(tmp_path, batches=epochs, num_steps=10)
  with pytest.raises(AssertionError, match='traced > 2 times'):
    short_run(tmp_path, batches=epochs, num_steps=11)


def test_a_slow_source_shows_as_time_that_steps_wait_for_data(tmp_path):
  def batches(position: int):
    for number in itertools.count(position):
      time.sleep(0.5 if number > 3 else 0)
      yield toy.batch()

  short_run(tmp_path, batches=batches)
  lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  fast, _, slow = (line['data_wait_fraction'] for line in lines)  # Of steps 1 and 2, and 5 and 6.
  assert 0 <= fast < 0.5 < slow < 1


@pytest.fixture
def implicit_copies(monkeypatch):
  """Makes a function that forbids implicit copies between host and devices, until it is called with False.

  On the CPU, JAX guards only copies to the device; this fixture guards those to the host.
  """
  value, get, explicit = ArrayImpl._value, jax.device_get, []

  def guarded(array):
    assert explicit, 'there was an implicit copy to the host'
    return value.fget(array)

  def device_get(tree):
    explicit.append(True)
    try:
      return get(tree)
    finally:
      explicit.pop()

  def forbid(on: bool) -> None:
    jax.config.update('jax_transfer_guard', 'disallow' if on else 'allow')
    monkeypatch.setattr(ArrayImpl, '_value', property(guarded) if on else value)
    monkeypatch.setattr(jax, 'device_get', device_get if on else get)

  yield forbid
  forbid(False)


@pytest.mark.parametrize(
  'copy',
  [None, lambda run: float(run.state.step), lambda run: run.state.step + 1],
  ids=['none', 'to the host', 'to the device'],
)
def test_the_loop_makes_no_implicit_copy_between_host_and_devices(tmp_path, implicit_copies, copy):
  def batches(position: int):
    yield toy.batch()  # The first batch is read before the step is compiled.
    for _ in range(6):
      implicit_copies(True)
      yield toy.batch()

  def look(run) -> None:
    if copy:
      copy(run)
    if run.finished or run.step % CONFIG.checkpoint_every == 0:
      implicit_copies(False)  # The next hook saves a checkpoint.

  caught = pytest.raises((AssertionError, jax.errors.JaxRuntimeError), match='implicit|Disallowed')
  with caught if copy else contextlib.nullcontext():
    short_run(tmp_path, hooks=[Every(1, look)], batches=batches)
