"""Runs that skip steps: their metrics, how they resume, and where they end."""

import contextlib
import itertools
import json

import chex
import pytest

from infformer_jax.train.exits import NotFiniteError, Terminated
from infformer_jax.train.hooks import Every
from tests import toy
from tests.bits import bits
from tests.train.test_loop import short_run


def test_skipped_steps_are_counted_also_across_a_resume_and_their_number_is_limited(tmp_path):
  """A token that is not in the vocabulary has an embedding that is not finite."""

  def bad_at(*steps: int):
    def batches(position: int):
      for step in itertools.count(position + 1):
        batch = toy.batch(seed=step)
        if step in steps:
          batch.tokens_bsl[0, 0, 0] = toy.VOCABULARY
        yield batch

    return batches

  skip = {'on_nonfinite': 'skip', 'max_skipped_steps': 1, 'checkpoint_every': 1, 'log_every': 1}
  once, twice, limited = tmp_path / 'once', tmp_path / 'twice', tmp_path / 'limited'
  run = short_run(once, batches=bad_at(3), num_steps=5, profile_steps=(2, 3), **skip)
  assert (run.step, int(run.state.step), int(run.state.skipped)) == (5, 4, 0)

  def stop(run) -> None:
    run.stopping = run.step == 3

  with contextlib.suppress(Terminated):
    short_run(twice, [Every(1, stop)], bad_at(3), num_steps=5, **skip)
  resumed = short_run(twice, batches=bad_at(3), num_steps=5, **skip)
  chex.assert_trees_all_equal(bits(resumed.state), bits(run.state))
  lines = [
    [json.loads(line) for line in (d / 'metrics.jsonl').read_text().splitlines()] for d in (once, twice)
  ]
  for key in ('loss_nats_per_token', 'learning_rate', 'skipped_steps'):
    of_once, of_twice = ([line[key] for line in each] for each in lines)
    assert of_once == of_twice
    assert (of_once[2] is None) == (key != 'skipped_steps')
  assert of_once == [0, 0, 1, 1, 1]
  assert list((once / 'profile').rglob('*.xplane.pb'))

  for _ in range(2):  # The second time it resumes before the step that has ended it.
    with pytest.raises(NotFiniteError, match=r'step 4: .* after 1 skipped steps in a row .* checkpoint 3 '):
      short_run(limited, batches=bad_at(3, 4), num_steps=5, **skip)
