"""The recall task: answers at controlled distances."""

import collections

import numpy as np
import pytest

from infformer_jax.data.recall import RecallConfig
from infformer_jax.errors import ConfigError
from infformer_jax.experiment import Experiment
from tests import toy
from tests.data.tasks import PASSKEY, RECALL, corpus


def test_every_question_has_its_answer_at_its_distance(tmp_path):
  split = corpus(RECALL, tmp_path).split('train')
  question, first_value, first_key = 16, 18, 18 + 16
  where = set()
  for index in range(50):
    tokens, group = split.tokens(index), split.group(index, 0, 360)
    asked = np.flatnonzero(group >= 0)
    assert collections.Counter(group[asked].tolist()) == {0: 2, 1: 2, 2: 2}
    for at in asked:
      mark, key, value = tokens[at - 2 : at + 1]
      assert (mark, key >= first_key, first_value <= value < first_key) == (question, True, True)
      (stored,) = [i for i in np.flatnonzero(tokens == key) if i != at - 1]
      assert tokens[stored + 1] == value
      assert at // 40 - stored // 40 == RECALL.distances[group[at]]
      where.add((at // 40, int(group[at])))
  assert {segment for segment, group in where if group == 0} == set(range(1, 9))  # All possible segments.


def test_the_distance_of_a_passkey_is_that_of_its_group(tmp_path):
  split = corpus(PASSKEY, tmp_path).split('train')
  seen = set()
  for index in range(50):
    tokens, group = split.tokens(index), split.group(index, 0, 80)
    (mark,) = np.flatnonzero(tokens == 17)
    np.testing.assert_array_equal(tokens[mark + 1 : mark + 5], tokens[-4:])
    assert tokens[-5] == 16
    assert np.flatnonzero(group >= 0).tolist() == [76, 77, 78, 79]
    assert 4 - mark // 16 == PASSKEY.distances[group[-1]]
    rest = np.delete(np.arange(80), [*range(mark, mark + 5), *range(75, 80)])
    np.testing.assert_array_equal(tokens[rest], rest % 16)
    seen.add(int(group[-1]))
  assert seen == {0, 1}


def test_distances_are_counted_in_segments_of_the_model():
  model = toy.config()
  with pytest.raises(
    ConfigError, match=r'data.segment_length = 64, .*model.segment_length = 4; use the same value'
  ):
    Experiment(model=model, data=RecallConfig())


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'num_segments': 16}, 'num_segments = 16 must be larger than'),
    ({'num_segments': 2**30}, r'num_segments = 1073741824 must be in \[1, '),
    ({'num_fillers': 2**30}, r'num_fillers = 1073741824 must be in \[1, 1,000,000\]'),
    ({'distances': (4, 2)}, r'distances = \(4, 2\) must be positive, distinct and in ascending order'),
    ({'pairs_per_distance': 3}, 'segment_length = 64 must be at least'),
    ({'num_values': 0}, r'num_values = 0 must be in \[1, '),
  ],
)
def test_invalid_settings_are_rejected(settings, message):
  with pytest.raises(ConfigError, match=message):
    RecallConfig(**settings)
