"""AdamW with clipping, warm-up and decay; every group of parameters has its own learning rate."""

import dataclasses
import re
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from infformer_jax.errors import ConfigError, check_range
from infformer_jax.train.parameter_groups import Group, Trained, groups_of, names, parameter_groups, split
from infformer_jax.types import Array, PyTree

Schedule = Callable[[Array | int], Array]

_RATES: dict[Group, str] = {
  'trunk': 'learning_rate',
  'norms': 'norm_learning_rate',
  'memory': 'memory_learning_rate',
}
"""The key of the learning rate of every group, which also names it in the metrics."""

_NOT_DECAYED = re.compile('bias|scale|^b_|^gate_|^[uv]_hk$|^w_(mu|sigma|pi)_')
"""The names of parameters that are not projections of features: biases and tables of biases, scales, gates
per head, Transformer-XL's u and v, and the affine maps of a continuous memory, which take the scores of its
basis functions to the positions, widths and weights of densities."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
  """Rates are per step; a step is one chunk of every lane."""

  # The parameters that change: all, those of the memories, or these and the norms of the trunk.
  trained: Trained = 'all'
  learning_rate: float = 3e-4
  memory_learning_rate: float | None = None  # of all parameters under a layer's `memory`; None: the same
  norm_learning_rate: float | None = None  # of the norms of the trunk; None: the same as learning_rate
  warmup_steps: int = 100  # the rate rises linearly; step `warmup_steps` is the first at the full rate
  decay: Literal['cosine', 'linear'] = 'cosine'  # after the warm-up; half a cosine, or a line
  final_learning_rate_fraction: float = 0.1  # where the decay ends, at the last step
  weight_decay: float = 0.01  # decoupled, times the rate; of the parameters that `decayed` selects
  clip_norm: float = 1.0  # of the gradient of all trained parameters together
  b1: float = 0.9
  b2: float = 0.98

  def __post_init__(self) -> None:
    check_range('warmup_steps', self.warmup_steps, 0)
    for name in (*_RATES.values(), 'weight_decay'):
      if (value := getattr(self, name)) is not None and value < 0:
        raise ConfigError(f'{name} = {value} must not be negative')
    for name in ('b1', 'b2'):
      if not 0 <= (value := getattr(self, name)) < 1:
        raise ConfigError(f'{name} = {value} must be in [0, 1)')
    if not 0 <= (value := self.final_learning_rate_fraction) <= 1:
      raise ConfigError(f'final_learning_rate_fraction = {value} must be in [0, 1]')
    if self.clip_norm <= 0:
      raise ConfigError(f'clip_norm = {self.clip_norm} must be positive; use a large value for no clipping')


def make_schedule(config: OptimizerConfig, num_steps: int, *, peak: float) -> Schedule:
  """The learning rate as a function of the number of steps done.

  Linear to `peak` over `warmup_steps` (the rate of the first step is not zero), then half a cosine or a
  line to the final fraction, reached by the last of `num_steps`.

  >>> schedule = make_schedule(
  ...   OptimizerConfig(warmup_steps=4, final_learning_rate_fraction=0.0), 12, peak=1.0
  ... )
  >>> [round(float(schedule(steps_done)), 2) for steps_done in (0, 3, 7, 11)]
  [0.25, 1.0, 0.5, 0.0]
  """
  warmup, final = max(config.warmup_steps, 1), config.final_learning_rate_fraction
  steps = max(num_steps - warmup, 1)  # A warm-up longer than the training has no decay.
  after = {
    'cosine': optax.cosine_decay_schedule(peak, steps, alpha=final),
    'linear': optax.linear_schedule(peak, final * peak, steps),
  }[config.decay]
  schedule = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])
  return lambda steps_done: schedule(jnp.asarray(steps_done, jnp.float32) + 1)


def make_schedules(config: OptimizerConfig, num_steps: int) -> dict[Group, Schedule]:
  """The schedule of every group of parameters that is trained."""
  peaks = {group: getattr(config, _RATES[group]) for group in groups_of(config.trained)}
  return {
    group: make_schedule(config, num_steps, peak=config.learning_rate if peak is None else peak)
    for group, peak in peaks.items()
  }


def decayed(params: PyTree) -> PyTree:
  """Whether each parameter decays: projections of features, convolutions and embeddings do.

  The name decides, so that an option which gives a parameter another axis, such as `mixture`, does not change
  whether it decays. A parameter of any memory, including one that a user registers, decays if it has at least
  two axes, unless its name contains 'bias' or 'scale', starts with 'b_', 'gate_', 'w_mu_', 'w_sigma_' or
  'w_pi_', or is 'u_hk' or 'v_hk'.
  """

  def decays(path: tuple, leaf: Array) -> bool:
    name = [key for key in names(path) if not key.isdecimal()][-1]  # Of a list: the name of the list.
    return leaf.ndim > 1 and not _NOT_DECAYED.search(name)

  return jax.tree.map_with_path(decays, params)


def learning_rates(config: OptimizerConfig, num_steps: int, steps_done: Array) -> dict[str, Array]:
  """The rates of the next step, by their keys in the config."""
  return {_RATES[group]: rate(steps_done) for group, rate in make_schedules(config, num_steps).items()}


def make_optimizer(config: OptimizerConfig, num_steps: int) -> optax.GradientTransformation:
  """AdamW (Loshchilov & Hutter 2019) with a rate that depends on the step and the group of the parameter.

  It takes all parameters, and the gradients and updates of the trained ones alone, as `split` gives them.
  """
  rates = {
    group: optax.scale_by_learning_rate(schedule)
    for group, schedule in make_schedules(config, num_steps).items()
  }
  inner = optax.chain(
    optax.clip_by_global_norm(config.clip_norm),
    optax.scale_by_adam(config.b1, config.b2),
    optax.add_decayed_weights(config.weight_decay, mask=decayed),
    optax.partition(rates, parameter_groups),
  )

  def init(params: PyTree) -> PyTree:
    return inner.init(split(params, config.trained)[0])

  def update(gradients: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
    return inner.update(gradients, state, split(params, config.trained)[0])

  return optax.GradientTransformation(init, update)
