"""Violations of the schema are detected. Tests of evaluations and sweeps check that they conform to it."""

import pytest

from infformer_jax.results_schema import Cost, Summary
from tests.evaluation.test_results import losses, summary
from tests.schema import assert_conforms

COST = {
  'num_parameters': 1,
  'memory_bytes_per_lane': 2,
  'cache_bytes_per_lane': 3,
  'forward_flops_per_token': 4,
  'memory_flops_per_token': 5,
}


def test_missing_and_unknown_keys_are_detected():
  assert_conforms(COST, Cost)
  with pytest.raises(AssertionError, match="lacks {'num_parameters'}"):
    assert_conforms({key: value for key, value in COST.items() if key != 'num_parameters'}, Cost)
  with pytest.raises(AssertionError, match="unknown keys {'parameters'}"):
    assert_conforms(COST | {'parameters': 1}, Cost)
  with pytest.raises(AssertionError, match=r'num_parameters = 1.5 is no int'):
    assert_conforms(COST | {'num_parameters': 1.5}, Cost)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda r: r['memory'].update(perplexity=1.0), "value.memory has unknown keys {'perplexity'}"),
    (lambda r: r['emptied'].update(num_tokens=None), 'value.emptied.num_tokens = None is no int'),
    (lambda r: r['by_position']['start_tokens'].append('0'), 'value.by_position.start_tokens'),
    (lambda r: r.update(by_group={'far': {'memory': {}}}), 'value.by_group.far.memory lacks'),
  ],
)
def test_errors_contain_the_path_of_the_value(change, message):
  results = summary(losses([1] * 6, emptied=[2] * 6))
  assert_conforms(results, Summary)
  change(results)
  with pytest.raises(AssertionError) as error:
    assert_conforms(results, Summary)
  assert message in str(error.value)
