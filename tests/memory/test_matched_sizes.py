"""Memories with the same number of bytes."""

import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from infformer_jax.memory import registry
from infformer_jax.memory.base import Site
from infformer_jax.memory.matched_sizes import KINDS, of_size

D, L = 32, 16


def bytes_per_lane(config, num_layers, dtype):
  """Bytes that the memories of all layers store per lane, without counters and statistics."""
  site = Site(d_model=D, num_heads=4, head_dim=D // 4, segment_length=L)
  memory = registry.build(config, site, rngs=nnx.Rngs(0))
  state = jax.eval_shape(lambda: memory.init_state(1, jnp.dtype(dtype)))
  stored = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim >= 3]
  per_layer = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in stored)
  return per_layer * len(config.layers_of(num_layers))


CONTINUOUS = {
  'continuous': ('sticky', 0.75, None, 'gaussian'),
  'continuous_even': ('even', 0.75, None, 'gaussian'),
  'continuous_log': ('sticky', 'log', 4096.0, 'gaussian'),
  'continuous_log_even': ('even', 'log', 4096.0, 'gaussian'),
  'continuous_gibbs': ('even', 0.75, None, 'gibbs'),
  'continuous_log_gibbs': ('even', 'log', 4096.0, 'gibbs'),
}
MATCHED = ('none', 'recent', 'compressive', 'neighbours', *CONTINUOUS)
WINDOWS = {'recent_4x': 4, 'recent_8x': 8, 'recent_16x': 16}


def test_every_kind_is_tested():
  assert set(KINDS) == {*MATCHED, *WINDOWS}


@pytest.mark.parametrize('kind', MATCHED)
@pytest.mark.parametrize(('dtype', 'size'), [('float32', 4), ('bfloat16', 2)])
@pytest.mark.parametrize('num_layers', [2, 6])
def test_memories_have_the_same_number_of_bytes(kind, dtype, size, num_layers):
  config = of_size(kind, num_vectors=8 * L, num_layers=num_layers, bytes_per_value=size)
  assert config.kind == kind.partition('_')[0]
  expected = 0 if kind == 'none' else 8 * L * D * size * num_layers
  assert bytes_per_lane(config, num_layers, dtype) == expected


@pytest.mark.parametrize(('kind', 'times'), WINDOWS.items())
def test_exact_windows_hold_several_times_the_tokens(kind, times):
  config = of_size(kind, num_vectors=8 * L, num_layers=2, bytes_per_value=2)
  assert (config.kind, config.length) == ('recent', times * 8 * L)
  assert bytes_per_lane(config, 2, 'bfloat16') == times * 8 * L * D * 2 * 2


@pytest.mark.parametrize(('kind', 'expected'), CONTINUOUS.items())
def test_continuous_memories_differ_in_their_writes_and_reads(kind, expected):
  config = of_size(kind, num_vectors=8 * L, num_layers=2, bytes_per_value=4, horizon=4096.0)
  assert (config.sampling, config.contraction, config.horizon, config.density) == expected


def test_an_odd_number_of_layers_rounds_up_to_whole_segments():
  config = of_size('neighbours', num_vectors=8 * L, num_layers=3, bytes_per_value=4)
  assert config.length == 16 * L
  assert bytes_per_lane(config, 3, 'float32') - 8 * L * D * 4 * 3 == 8 * L * D * 4
