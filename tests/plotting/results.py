"""Parts of results.json for tests of plots."""

BY_POSITION = {
  'start_tokens': [0, 128, 256],
  'stop_tokens': [128, 256, 512],
  'loss_nats_per_token': {
    'memory': [3.0, 2.5, 2.0],
    'emptied': [3.0, 2.5, 2.25],
    'exchanged': [3.0, 2.5, None],
  },
  'memory_minus': {
    'emptied': {'nats_per_token': [0, 0, -0.25], 'standard_error': [0, 0, None]},
    'exchanged': {'nats_per_token': [0, 0, None], 'standard_error': [0, 0, None]},
  },
}
