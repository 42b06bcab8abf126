"""Invalid model configs are rejected before anything is built."""

import pytest

from infformer_jax.errors import ConfigError
from infformer_jax.memory.stacked import StackedConfig
from tests import toy

EQUAL_FOURIER = toy.small('continuous', basis='fourier', num_basis=16, contraction='equal')
TWO_GATES = StackedConfig(source='previous', first=toy.small('neighbours'), second=toy.small('neighbours'))
IMPOSSIBLE = [
  ({'short_term_length': 6}, 'short_term_length = 6 must be a multiple of segment_length = 4; use 4 or 8'),
  ({'num_heads': 3}, 'd_model = 16 must be a multiple of num_heads = 3'),
  ({'num_heads': 0}, 'num_heads = 0 must be in [1, 2^31 - 1]'),
  ({'positions': 'rotary', 'head_dim': 5}, "head_dim = 5 must be even with positions = 'rotary'"),
  ({'d_model': 15, 'head_dim': 4}, "d_model = 15 must be even with positions = 'xl'"),
  (
    {'positions': 'learned', 'norm_position': 'post'},
    "norm_position = 'post' must be 'pre' with positions = 'learned' and short_term_length = 4",
  ),
  ({'positions': 'learned', 'memory': toy.MEMORIES['stacked']}, 'tokens would have no position; use'),
  ({'positions': 'learned', 'short_term_length': 0, 'memory': toy.MEMORIES['dilated']}, 'no position'),
  (
    {'short_term_length': 0, 'window': 'past'},
    "window = 'past' must be 'block' with short_term_length = 0; or use 4 or more",
  ),
  ({'clamp_length': 0}, 'clamp_length = 0 must be in [1,'),
  (  # Neither the range of all layers nor the model is made.
    {'num_layers': 2**31 - 1, 'memory': toy.small('continuous', layers=(0,))},
    'num_layers = 2147483647 must be in [1, 10,000]',
  ),
  ({'clamp_length': 9, 'positions': 't5'}, "clamp_length = 9 must be None with positions = 't5'"),
  (
    {'positions': 'learned', 'max_positions': 7},
    'max_positions = 7 must be at least short_term_length + segment_length = 4 + 4 = 8; use shorter ones',
  ),
  ({'max_positions': 9}, "max_positions = 9 must be None with positions = 'xl'; or use 'learned'"),
  ({'norm_epsilon': 0.0}, 'norm_epsilon = 0.0 must be positive'),
  (
    {'rotary_base': 5e5},
    "rotary_base = 500000.0 and rotary_scaling = None must be 10000.0 and None with positions = 'xl'",
  ),
  ({'feed_forward_dropout': 1.0}, 'feed_forward_dropout = 1.0 must be in [0, 1)'),
  ({'num_kv_heads': 3}, 'num_kv_heads = 3 must divide num_heads = 4; use a divisor, or None for as many'),
  ({'num_kv_heads': 0}, 'num_kv_heads = 0 must be in [1,'),
  ({'attention_dropout': -0.1}, 'attention_dropout = -0.1 must be in [0, 1)'),
  (
    {'compute_dtype': 'float64'},
    "compute_dtype = 'float64' needs the environment variable JAX_ENABLE_X64 = 1",
  ),
  ({'dropout': 1.0}, 'dropout = 1.0 must be in'),
  (
    {'norm_position': 'post', 'memory': toy.MEMORIES['stacked_most_used']},
    "norm_position = 'post' has the residual stream as the input of its attention; use feed = 'normed'",
  ),
  *(
    (
      {'memory': toy.small('continuous', layers=layers)},
      f'memory.layers = {layers} must be one or more ascending layers in [0, 1] with num_layers = 2',
    )
    for layers in ((2,), (0, 0), (1, 0), (-1,), ())
  ),
  ({'memory': toy.small('continuous', num_samples=None)}, 'num_samples = 512 must be smaller with the 4 new'),
  ({'memory': toy.small('continuous', basis='fourier', num_basis=64, num_samples=64)}, 'use num_basis = 16'),
  ({'memory': EQUAL_FOURIER}, 'use num_basis = 8'),
  (
    {'memory': toy.small('continuous', contraction='log', horizon=7.0)},
    'horizon = 7.0 must be a number of tokens, at least two segments, such as 1000000',
  ),
  (
    {'memory': toy.small('continuous', contraction='log', num_samples=512)},
    'num_basis = 8 must be smaller or have fewer num_samples',
  ),
  (
    {'memory': StackedConfig()},
    "memory.first.kind = 'none' and second.kind = 'none' leave nothing to stack",
  ),
  (
    {'memory': TWO_GATES},
    "memory.first.kind = 'neighbours' and second.kind = 'neighbours': both memories are gated",
  ),
  ({'memory': toy.small('recent', length=6)}, 'memory.length = 6 must be a multiple of model.segment_length'),
]


@pytest.mark.parametrize(('settings', 'message'), IMPOSSIBLE)
def test_invalid_configs_are_rejected(settings, message):
  with pytest.raises(ConfigError) as caught:
    toy.config(**settings)
  assert message in str(caught.value)
