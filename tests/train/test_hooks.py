"""Hooks: when each of them is due, and how it changes the run."""

import types

import jax.numpy as jnp
import pytest

from infformer_jax.train.hooks import Best, Evaluation, Every, Run, Save, StatusLine, comparable, log
from infformer_jax.train.metrics import Totals

WHOLE = {'evaluation.max_tokens': None, 'sha256 of the split': 64 * 'a'}


class Lines(list):
  """A console and a metrics writer that record their calls."""

  status_seconds = 0.0

  def status(self, line: str) -> None:
    self.append(line)

  def write(self, step: int, split: str, values) -> None:
    self.append((step, split, dict(values)))

  def flush(self) -> None:
    self.append('flushed')


def run_at(step: int, **fields) -> Run:
  """A run of 20 steps without a model, one of which was skipped."""
  state = types.SimpleNamespace(step=jnp.int32(step - 1))
  defaults = {'totals': Totals({}), 'best': None, 'measured_on': WHOLE, 'metrics': Lines()}
  return Run(mesh=None, graphdef=None, num_steps=20, step=step, state=state, **defaults | fields)


def test_a_hook_is_due_every_n_steps_and_after_the_last_step():
  hook = Every(6, lambda run: None)
  assert [step for step in range(1, 21) if hook.due(run_at(step))] == [6, 12, 18, 20]


def test_a_log_contains_the_means_and_the_skipped_steps_and_resets_the_sums():
  run = run_at(4, totals=Totals({'loss_nats_per_token': [6.0, 3.0]}))
  log(run)
  assert run.metrics == [(4, 'train', {'loss_nats_per_token': 2.0, 'skipped_steps': 1})]
  assert run.totals.sums == {}


def test_the_best_step_is_the_first_with_the_lowest_loss():
  losses = {5: None, 10: 3.0, 15: 2.0, 20: 2.0}
  evaluation = Evaluation(5, 'validation', lambda run: {'loss_nats_per_token': losses[run.step]})
  best = None
  for step, is_best in ((5, False), (10, True), (15, True), (20, False)):
    run = run_at(step, best=best)
    evaluation(run)
    assert run.metrics == [(step, 'validation', {'loss_nats_per_token': losses[step]})]
    assert run.is_best == is_best
    best = run.best
  assert best == Best(2.0, 15, WHOLE)


@pytest.mark.parametrize(
  ('measured_on', 'why'),
  [
    (WHOLE | {'evaluation.max_tokens': 256}, 'evaluation.max_tokens: 256, now None'),
    (WHOLE | {'sha256 of the split': 64 * 'b'}, 'sha256 of the split: bbbbbbbbbbbb, now aaaaaaaaaaaa'),
    (None, 'an earlier version of the package did not record what it was measured on'),
  ],
)
def test_a_best_that_was_measured_on_something_else_restarts_with_a_message(measured_on, why):
  lines = []
  assert comparable(Best(4.57, 20, measured_on), WHOLE, lines.append) is None
  assert lines == [
    f'the lowest loss, 4.5700 at step 20, cannot be compared with later ones ({why}): '
    'the best restarts, and checkpoint 20 is no longer kept as the best'
  ]


def test_a_best_that_was_measured_on_the_same_is_kept():
  for best in (None, Best(4.57, 20, dict(WHOLE))):
    assert comparable(best, WHOLE, pytest.fail) is best


def test_a_checkpoint_is_saved_after_flushing_metrics_with_position_totals_and_best():
  saved = []
  checkpoints = types.SimpleNamespace(save=lambda *args, best: saved.append((*args, best)))
  run = run_at(7, totals=Totals({'loss': [1.0, 2.0]}), best=Best(3.0, 5, WHOLE))
  Save(4, checkpoints)(run)
  assert run.metrics == ['flushed']
  content = {'data_position': 7, 'totals': {'loss': [1.0, 2.0]}, 'best': (3.0, 5, WHOLE)}
  assert saved == [(7, run.state, content, 5)]


@pytest.mark.parametrize(
  ('step', 'fields', 'due'),
  [
    (7, {}, False),
    (8, {}, True),
    (20, {}, True),
    (7, {'stopping': True}, True),
    (7, {'best': Best(3.0, 7)}, True),
    (7, {'best': Best(3.0, 5)}, False),
  ],
)
def test_a_checkpoint_is_due_on_schedule_when_stopping_and_at_a_new_best(step, fields, due):
  assert Save(4, checkpoints=None).due(run_at(step, **fields)) == due


@pytest.mark.parametrize(('sums', 'text'), [([6.0, 4.0], '1.500'), ([0.0, 0.0], '-')])
def test_the_status_line_contains_step_loss_speed_and_remaining_time(sums, text):
  """A task has no loss before its first answer."""
  lines = Lines()
  totals = Totals({'loss_nats_per_token': sums, 'tokens_per_second': [3000.0, 2.0]})
  StatusLine(lines, step=0, num_steps=20)(run_at(20, totals=totals))
  assert lines == [f'step 20 of 20, loss {text} nats/token, 1,500 tokens/s, 0:00 left']
