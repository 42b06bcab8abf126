"""Invalid model configs are rejected before anything is built."""

import pytest

from infformer_jax.errors import ConfigError
from infformer_jax.memory.stacked import StackedConfig
from tests import toy

EQUAL_FOURIER = toy.small('continuous', basis='fourier', num_basis=16, contraction='equal')
TWO_GATES = StackedConfig(source='previous', first=toy.small('neighbours'), second=toy.small('neighbours'))
IMPOSSIBLE = [
  ({'short_term_length': 6}, 'short_term_length = 6 is not a multiple of segment_length = 4; use 4 or 8'),
  ({'num_heads': 3}, 'd_model = 16 is not a multiple of num_heads = 3'),
  ({'num_heads': 0}, 'num_heads = 0 is not positive'),
  ({'positions': 'rotary', 'head_dim': 5}, "positions = 'rotary' needs an even head_dim, not 5"),
  ({'d_model': 15, 'head_dim': 4}, "positions = 'xl' needs an even d_model, not 15"),
  ({'positions': 'learned'}, "positions = 'learned' gives the tokens of a cache no position; use 'xl'"),
  ({'positions': 'learned', 'short_term_length': 0, 'memory': toy.MEMORIES['stacked']}, 'no position'),
  ({'positions': 'learned', 'short_term_length': 0, 'memory': toy.MEMORIES['dilated']}, 'no position'),
  ({'short_term_length': 0, 'window': 'past'}, "window = 'past' needs short_term_length > 0, such as 4"),
  ({'clamp_length': 0}, 'clamp_length = 0 must be None, or positive'),
  ({'clamp_length': 9, 'positions': 't5'}, "with positions = 'xl', not 't5'"),
  ({'num_kv_heads': 3}, 'num_kv_heads = 3 does not divide num_heads = 4; use a divisor, or None for as many'),
  ({'num_kv_heads': 0}, 'num_kv_heads = 0 is not positive'),
  ({'attention_dropout': -0.1}, 'attention_dropout = -0.1 is not in [0, 1)'),
  ({'dropout': 1.0}, 'dropout = 1.0 is not in'),
  ({'memory': toy.small('continuous', layers=(2,))}, 'memory.layers = (2,) names layer 2; num_layers = 2'),
  ({'memory': toy.small('continuous', num_samples=None)}, 'num_samples = 512 are too many beside the 4 new'),
  ({'memory': toy.small('continuous', basis='fourier', num_basis=64, num_samples=64)}, 'use num_basis = 16'),
  ({'memory': EQUAL_FOURIER}, 'use num_basis = 8'),
  (
    {'memory': StackedConfig()},
    "memory.first.kind = 'none' and second.kind = 'none' are no memories to stack",
  ),
  ({'memory': TWO_GATES}, "memory.second.kind = 'neighbours' is mixed with the local result by a gate"),
  ({'memory': toy.small('recent', length=6)}, 'memory.length = 6 is not a multiple of model.segment_length'),
]


@pytest.mark.parametrize(('settings', 'message'), IMPOSSIBLE)
def test_invalid_configs_are_rejected(settings, message):
  with pytest.raises(ConfigError) as caught:
    toy.config(**settings)
  assert message in str(caught.value)
