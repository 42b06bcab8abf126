"""The grid of a sweep: every run in a work directory of its own under W/points.

A run's point.json says that it is finished: a sweep that was killed goes on where it was, and processes that
take one index each need not know of each other.
"""

import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from infformer_jax.config.parsing import Overrides, load_config
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.experiment import Experiment, experiment_of

MAY_CHANGE = (
  'train.log_every',
  'train.evaluate_every',
  'train.checkpoint_every',
  'evaluation.batch_size',
  'evaluation.segments_per_chunk',
)
"""What may differ when a sweep goes on: nothing by which its runs could no longer be compared. Finished ones
are not run again, so that all must have been trained as long and evaluated on the same tokens."""

FIGURES = ('values', 'seed', 'step', 'is_task', 'accuracy_by_group')
METRICS = ('accuracy', 'loss_nats_per_token', 'perplexity_per_word')
SHOWN = (
  'regression_error',
  'capacity',
  'effective_rank',
  'num_parameters',
  'memory_bytes_per_lane',
  'memory_flops_per_token',
  'ms_per_segment_forward',
  'ms_per_segment_forward_backward',
  'peak_memory_bytes',
)
"""The columns of the table besides the metric, in this order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
  """A config key and its values, as texts; ':memory' is the argument `memory` of the config file."""

  key: str
  values: tuple[str, ...]

  @property
  def name(self) -> str:
    """The last part of the key."""
    return re.split(r'[.:]', self.key)[-1]


def names(axes: Sequence[Axis]) -> list[str]:
  """What the axes are called in files and tables: their keys, where both end in the same name.

  >>> names([Axis(key='model.memory.first.length', values=()), Axis(key='data.length', values=())])
  ['model.memory.first.length', 'data.length']
  """
  short = [axis.name for axis in axes]
  return short if len(set(short)) == len(short) else [axis.key.removeprefix(':') for axis in axes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
  """One run of the grid."""

  values: tuple[str, ...]  # one per axis
  seed: int
  workdir: pathlib.Path
  experiment: Experiment

  @property
  def file(self) -> pathlib.Path:
    """What it measured, once it is finished."""
    return self.workdir / 'point.json'

  def figures(self) -> dict[str, Any]:
    """What the file holds.

    Raises:
      UserError: it is damaged.
    """
    try:
      found = json.loads(self.file.read_text(encoding='utf-8'))
      missing = [name for name in (*FIGURES, *METRICS, *SHOWN) if name not in found]
    except (ValueError, TypeError):
      missing = ['JSON']
    if missing:
      raise UserError(f'{self.file} is damaged (no {missing[0]}); delete it, and the run is measured again')
    return found


def grid(
  config: str, overrides: Overrides, axes: Sequence[Axis], num_seeds: int, workdir: pathlib.Path
) -> list[Point]:
  """Every run, the seeds of one setting together. All configs are checked; nothing is computed.

  Args:
    config: FILE or FILE:argument.
    overrides: for all runs.
    axes: one or two.
    num_seeds: each setting is run with the config's seed and those that follow it.
    workdir: W.
  Raises:
    ConfigError: a point is impossible, or was begun with another config; names it.
  """
  points = []
  for values in itertools.product(*(axis.values for axis in axes)):
    setting = dict(zip((axis.key for axis in axes), values, strict=True))
    file = _with_arguments(config, {key[1:]: value for key, value in setting.items() if key[:1] == ':'})
    keys = [*overrides, *((key, value) for key, value in setting.items() if key[:1] != ':')]
    name = ','.join(f'{axis}={value}' for axis, value in zip(names(axes), values, strict=True))
    try:
      first = load_config(file, keys, cls=Experiment).seed
      for seed in range(first, first + num_seeds):
        directory = workdir / 'points' / re.sub(r'[^\w.,=+-]', '_', f'{name},seed={seed}')
        experiment = experiment_of(file, [*keys, ('seed', str(seed))], directory, may_change=MAY_CHANGE)
        points.append(Point(values=values, seed=seed, workdir=directory, experiment=experiment))
    except ConfigError as error:
      raise ConfigError(f'{name}: {error}') from None
  return points


def _with_arguments(config: str, arguments: Mapping[str, str]) -> str:
  """FILE:argument with more arguments, of which the last of a name counts.

  >>> _with_arguments('configs/sort.py:size=cpu', {'memory': 'none'})
  'configs/sort.py:size=cpu,memory=none'
  """
  file, _, given = config.partition(':')
  items = [*filter(None, [given]), *(f'{key}={value}' for key, value in arguments.items())]
  return f'{file}:{",".join(items)}' if items else file
