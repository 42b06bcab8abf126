"""Parts of checkpoints that are intact, damaged or out of reach."""

import pytest

from infformer_jax.train.exits import UnreachableError
from infformer_jax.train.intact import Damaged, in_short, reading


def failing(error, cause=None):
  def read():
    raise error from cause

  return read


def test_what_is_read_is_returned():
  assert reading(lambda: {'a': 1}) == {'a': 1}


@pytest.mark.parametrize(
  'error', [KeyError('shape'), FileNotFoundError('state/d/0'), ValueError('DATA_LOSS: x')]
)
def test_any_error_means_damage(error):
  with pytest.raises(Damaged, match=in_short(error)):
    reading(failing(error))


@pytest.mark.parametrize(
  ('error', 'cause'),
  [
    (ValueError('ABORTED: All 32 retry attempts failed: UNAVAILABLE: CURL error'), None),
    (OSError('Forbidden: https://storage.googleapis.com/b/o'), None),
    (RuntimeError('reading failed'), OSError('Forbidden: x')),
  ],
)
def test_a_bucket_out_of_reach_does_not_mean_damage(error, cause):
  with pytest.raises(UnreachableError, match='a checkpoint could not be read .*; run the same command again'):
    reading(failing(error, cause))


def test_an_error_is_described_by_its_code_or_by_its_first_line():
  assert in_short(ValueError("x [os_error_code='28']")) == 'No space left on device'
  assert in_short(ValueError('first\nsecond')) == 'first'
  assert in_short(ValueError()) == 'ValueError'
  assert len(in_short(ValueError('x' * 200))) == 120
