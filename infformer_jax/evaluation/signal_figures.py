"""The capacity of the signal of a continuous memory, from its config alone."""

from infformer_jax.core import capacity
from infformer_jax.evaluation.inspection import continuous_configs
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.results_schema import SignalFigures


def signal_figures(model: ModelConfig) -> SignalFigures:
  """Capacity, effective rank and horizon (core/capacity.py) of the first continuous memory of a model.

  None where a figure is not defined: without a continuous memory, and for the capacity and the horizon of a
  contraction that changes from write to write.
  """
  for config in continuous_configs(model.memory).values():
    spec = config.signal_spec(model.segment_length)
    changes = spec.contraction == 'equal'
    return {
      'capacity': None if changes else capacity.capacity(spec),
      'effective_rank': capacity.effective_rank(spec),
      'horizon_tokens': None if changes else capacity.horizon(spec),
    }
  return {'capacity': None, 'effective_rank': None, 'horizon_tokens': None}
