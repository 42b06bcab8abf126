"""Metrics of steps that are applied, skipped or stop the run, and speeds."""

import types

import jax
import jax.numpy as jnp
import pytest

from infformer_jax.train import reports as reports_module
from infformer_jax.train.exits import NotFiniteError
from infformer_jax.train.metrics import Totals
from infformer_jax.train.reports import Reports
from infformer_jax.train.step import Report

DEVICES = 4
PEAK = 2e12


@pytest.fixture
def clock(monkeypatch):
  """The seconds of the clock, which the test sets."""
  now = types.SimpleNamespace(seconds=0.0)
  monkeypatch.setattr(reports_module.time, 'monotonic', lambda: now.seconds)
  return now


def report(*, applied: bool = True, finite: bool = True) -> Report:
  """Of a step with 100 tokens and 28 positions of padding."""
  values = {'loss_nats_per_token': (300.0 if applied else jnp.nan, 100.0), 'padded_fraction': (28.0, 128.0)}
  metrics = {name: (jnp.float32(total), jnp.float32(count)) for name, (total, count) in values.items()}
  groups = {'memory': jnp.bool_(True), 'loss': jnp.bool_(applied), 'updated': jnp.bool_(applied)}
  return Report(metrics=metrics, finite=jnp.bool_(finite), applied=jnp.bool_(applied), groups=groups)


def started(monkeypatch, peak=PEAK, say=pytest.fail):
  monkeypatch.setattr(jax, 'device_count', lambda: DEVICES)
  monkeypatch.setattr(reports_module, 'bfloat16_peak', lambda kind: peak)
  run = types.SimpleNamespace(step=0, totals=Totals({}), state=types.SimpleNamespace(skipped=jnp.int32(3)))
  return run, Reports(run, flops_per_token=lambda: 6e9, say=say)


def add(run, reports, *of_steps: Report) -> None:
  for each in of_steps:
    run.step += 1
    reports.add(each)


def test_speeds_are_per_second_of_training_and_per_device(monkeypatch, clock):
  run, reports = started(monkeypatch)
  add(run, reports, report())
  clock.seconds = 2.0
  reports.catch_up()
  clock.seconds = 50.0  # A hook evaluates.
  reports.restart_clock()
  add(run, reports, report())
  clock.seconds = 53.0
  reports.catch_up()
  means = run.totals.means()
  assert means['step_seconds'] == 2.5
  assert means['tokens_per_second'] == 200 / 5
  assert means['tokens_per_second_per_device'] == 10
  assert means['bfloat16_peak_fraction'] == pytest.approx(10 * 6e9 / PEAK)


def test_there_is_no_fraction_of_a_peak_that_is_not_known(monkeypatch, clock):
  run, reports = started(monkeypatch, peak=None)
  add(run, reports, report())
  clock.seconds = 1.0
  reports.catch_up()
  assert 'bfloat16_peak_fraction' not in run.totals.sums


def test_a_skipped_step_is_said_and_counts_only_in_speeds_and_padding(monkeypatch, clock):
  lines = []
  run, reports = started(monkeypatch, say=lines.append)
  for each in (report(), report(applied=False), report(applied=False)):
    add(run, reports, each)
    clock.seconds += 1
    reports.catch_up()
    if run.step == 1:
      assert run.totals.take()['loss_nats_per_token'] == 3.0
  assert lines == ['step 2 is skipped: loss is not finite', 'step 3 is skipped: loss is not finite']
  means = run.totals.means()
  assert means['loss_nats_per_token'] is None
  assert means['padded_fraction'] == 28 / 128
  assert means['tokens_per_second'] == 100


def test_a_step_that_is_not_skipped_ends_the_run_with_its_number_and_what_is_not_finite(monkeypatch, clock):
  run, reports = started(monkeypatch)
  run.step = 6
  add(run, reports, report(applied=False, finite=False))
  line = (
    r'^step 7: loss is not finite after 3 skipped steps in a row \(train\.max_skipped_steps\); checkpoint 6'
  )
  with pytest.raises(NotFiniteError, match=line):
    reports.catch_up()
