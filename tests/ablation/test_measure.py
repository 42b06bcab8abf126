"""The estimated cost of a run of a sweep; tests/test_ablate.py measures trained runs."""

import pytest

from infformer_jax.ablation.grid import grid
from infformer_jax.ablation.measure import estimate
from tests.ablation.sweep import BASIS, write_config


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
  return write_config(tmp_path_factory.mktemp('config'))


def test_an_estimate_depends_on_the_shapes(config, tmp_path):
  small, large = grid(config, [], [BASIS], 1, tmp_path)
  assert estimate(small)['training_tokens'] == 3 * 2 * 4 * 8
  assert estimate(large)['training_tflops'] > estimate(small)['training_tflops']
