"""The mesh of a run: its devices along the axes `data`, `fsdp` and `tensor`."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from infformer_jax.core.placement import HEADS, LANES
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.nn.model_config import ModelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
  """Numbers of devices; one of them may be -1: all that the others leave (docs/scaling.md)."""

  data: int = -1  # lanes are split over data and fsdp
  fsdp: int = 1  # parameters and the state of the optimizer are split too, and gathered where they are used
  tensor: int = 1  # heads and hidden units of the feed-forwards are split; its devices share their lanes

  def __post_init__(self) -> None:
    for name, size in self.sizes().items():
      if size < 1 and size != -1:
        raise ConfigError(f'{name} = {size} must be at least 1, or -1 for all devices that the others leave')
      check_range(name, max(size, 1), 1)
    if [*self.sizes().values()].count(-1) > 1:
      names = ', '.join(name for name, size in self.sizes().items() if size == -1)
      raise ConfigError(f'{names} = -1: only one of them may take the devices that the others leave')

  def sizes(self) -> dict[str, int]:
    """By axis; the devices along the last one are neighbours."""
    return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def make_mesh(config: MeshConfig | None = None, devices: Sequence[jax.Device] | None = None) -> Mesh:
  """The mesh of a run, with devices ordered by process: a process holds the lanes that it feeds.

  Args:
    config: `train.mesh`; None: all devices along `data`.
    devices: None: all devices of all processes.
  Raises:
    ConfigError: the sizes do not make up the number of devices.
  """
  config = config or MeshConfig()
  devices = sorted(
    jax.devices() if devices is None else devices, key=lambda device: (device.process_index, device.id)
  )
  sizes = config.sizes()
  given = {name: size for name, size in sizes.items() if size != -1}
  known, text = math.prod(given.values()), ' × '.join(f'{name} {size}' for name, size in given.items())
  if len(given) == len(sizes) and known != len(devices):
    raise ConfigError(
      f'train.mesh: {text} = {known} must be the number of devices, {len(devices)}; '
      'use train.mesh.data = -1 for all that the others leave'
    )
  if len(devices) % known:
    raise ConfigError(
      f'train.mesh: {text} = {known} must divide the number of devices, {len(devices)}; '
      'use numbers whose product does'
    )
  shape = [len(devices) // known if size == -1 else size for size in sizes.values()]
  return Mesh(np.array(devices).reshape(shape), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def is_plain(mesh: Mesh) -> bool:
  """Whether only lanes are split."""
  return all(size == 1 for axis, size in mesh.shape.items() if axis != 'data')


def lane_shards(mesh: Mesh) -> int:
  """Into how many parts the lanes are split."""
  return math.prod(mesh.shape[axis] for axis in LANES)


def within(mesh: Mesh) -> Callable[[Callable], Callable]:
  """A decorator of functions that are traced: core/placement.py takes this mesh, unless it only has lanes."""

  def decorated(function: Callable) -> Callable:
    if is_plain(mesh):
      return function

    @functools.wraps(function)
    def on_mesh(*args: Any) -> Any:
      with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return function(*args)

    return on_mesh

  return decorated


def require_fit(mesh: Mesh, model: ModelConfig) -> None:
  """Checks that `tensor` divides what it splits.

  Raises:
    ConfigError: it does not divide the heads, those of keys and values, or the hidden units.
  """
  size = mesh.shape[HEADS]
  split = {'num_heads': model.num_heads, 'num_kv_heads': model.kv_heads, 'd_ff': model.d_ff}
  if any(number % size for number in split.values()):
    numbers = ', '.join(f'model.{name} = {number}' for name, number in split.items())
    largest = math.gcd(*split.values())
    raise ConfigError(f'train.mesh.tensor = {size} must divide {numbers}; use a divisor of {largest}')


def require_lanes(mesh: Mesh, num_lanes: int, key: str) -> None:
  """Checks that data × fsdp divides a number of lanes.

  Args:
    mesh: of the run.
    num_lanes: over all devices.
    key: its config key, for the error.
  Raises:
    ConfigError: it does not.
  """
  shards = lane_shards(mesh)
  if num_lanes % shards:
    lower = num_lanes // shards * shards
    sizes = ' × '.join(f'{axis} {mesh.shape[axis]}' for axis in LANES)
    raise ConfigError(
      f'{key} = {num_lanes} must be divisible by {shards}, the devices that split lanes '
      f'(train.mesh: {sizes} of {mesh.size} devices); use {f"{lower} or " if lower else ""}{lower + shards}'
    )
