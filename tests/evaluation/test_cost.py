"""The cost of a model, computed by hand and measured."""

import jax
import numpy as np
import pytest

from infformer_jax.evaluation.cost import cost, timed, training_flops_per_token
from infformer_jax.memory.registry import CONFIGS
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.results_schema import Cost, Timing
from tests import toy
from tests.schema import assert_conforms


@pytest.mark.parametrize('kind', CONFIGS)
def test_the_bytes_and_flops_of_every_memory_are_known(kind):
  model = toy.config(toy.MEMORIES[kind])
  figures = cost(model, toy.VOCABULARY)
  _, params = toy.build(model)
  assert_conforms(figures, Cost)
  assert figures['num_parameters'] == sum(np.size(leaf) for leaf in jax.tree.leaves(params))
  assert figures['memory_bytes_per_lane'] > 0
  assert (figures['memory_flops_per_token'] > 0) == (kind != 'none')


def test_the_bytes_of_a_memory_equal_those_computed_by_hand():
  model = ModelConfig(
    d_model=16, num_layers=2, num_heads=2, d_ff=16, segment_length=8, short_term_length=8,
    memory=CONFIGS['continuous'](num_basis=32, num_samples=32, histogram_bins=64),
  )  # fmt: skip
  per_layer = 32 * 16 * 4 + 64 * 4 + 4  # Coefficients, histogram, number of writes.
  assert cost(model, 10)['memory_bytes_per_lane'] == 2 * per_layer
  assert cost(model, 10)['cache_bytes_per_lane'] == 2 * 16 * 16 * 4  # The lag is 2.


def test_the_flops_of_a_long_memory_are_those_of_its_matrix_products():
  """At a size at which a CPU reads one head after the other."""
  length, n, d = 128, 256, 32
  memory = CONFIGS['continuous'](num_basis=n, num_samples=n, sampling='even')
  sizes = {'d_model': d, 'num_layers': 1, 'num_heads': 4, 'd_ff': 16}
  model = ModelConfig(**sizes, segment_length=length, short_term_length=0, memory=memory)
  # C X and r V, the output projection, and, once per segment, A B and V.
  products = 2 * (2 * n * d + d * d + (n * n * d + n * d * d) / length)
  assert products < cost(model, 10)['memory_flops_per_token'] < 1.4 * products


def test_a_training_step_counts_forward_losses_and_the_backward_pass():
  model, vocab_size = toy.config(), 5000
  forward = cost(model, vocab_size)['forward_flops_per_token']
  read_out = training_flops_per_token(model, vocab_size, 'all') / 3 - forward
  assert 2 * model.d_model * vocab_size < read_out < 2.5 * model.d_model * vocab_size
  assert training_flops_per_token(model, vocab_size, 'memory') == pytest.approx(2 * (forward + read_out))


def test_times_and_peak_memory_are_measured():
  figures = timed(toy.config(toy.MEMORIES['recent']), toy.VOCABULARY, lanes=2, segments=3, repeats=1)
  assert_conforms(figures, Timing)
  assert figures['ms_per_segment_forward'] > 0
  assert figures['ms_per_segment_forward_backward'] > 0
  assert figures['peak_memory_bytes'] > 0
