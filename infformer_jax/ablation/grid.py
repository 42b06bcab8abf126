"""The grid of a sweep: every run has a work directory of its own in W/points.

A run is finished when its point.json exists: a sweep that was killed resumes with the other runs, and
processes that run one index each do not need to communicate.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from infformer_jax.errors import ConfigError, UserError
from infformer_jax.experiment import Experiment, Overrides, load_experiment, resolve_experiment
from infformer_jax.results_schema import DocumentSums, PointFigures

MAY_CHANGE = (
  'train.log_every',
  'train.evaluate_every',
  'train.checkpoint_every',
  'evaluation.batch_size',
  'evaluation.segments_per_chunk',
)
"""What may differ when a sweep is resumed. Everything else must be the same for all runs, since finished runs
are not repeated: they are compared after the same number of steps and on the same tokens."""

PAIRED = frozenset({'memory_kind', 'measured_on', 'by_document'})
"""What paired comparisons need: a point.json has all of these keys or none."""


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
  """The names of the axes in files and tables: the last part of each key, or the keys if these are the same.

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
  workdir: epath.Path
  experiment: Experiment

  @property
  def file(self) -> epath.Path:
    """The figures of the run; it exists if the run is finished."""
    return self.workdir / 'point.json'

  def figures(self) -> PointFigures:
    """The content of the file.

    Raises:
      UserError: it is damaged.
    """
    try:
      figures = json.loads(self.file.read_bytes())
    except (ValueError, RecursionError):
      figures = None
    if damage := _damage(figures):
      raise UserError(f'{self.file} is damaged ({damage}); delete it to measure the run again')
    return figures


def grid(
  config: str, overrides: Overrides, axes: Sequence[Axis], num_seeds: int, workdir: epath.Path
) -> list[Point]:
  """All runs, the seeds of one setting one after another. Checks all configs; computes nothing.

  In `init_from`, {seed} is replaced by the seed of each run, and {run} by the name of its directory.

  Args:
    config: FILE or FILE:argument.
    overrides: for all runs.
    axes: one or two.
    num_seeds: runs per setting, with the seed of the config and the seeds that follow it.
    workdir: W.
  Raises:
    ConfigError: the config of a run is not valid, or the run was started with another one; names the run.
  """
  points = []
  for values in itertools.product(*(axis.values for axis in axes)):
    setting = dict(zip((axis.key for axis in axes), values, strict=True))
    file = _with_arguments(config, {key[1:]: value for key, value in setting.items() if key[:1] == ':'})
    keys = [*overrides, *((key, value) for key, value in setting.items() if key[:1] != ':')]
    name = ','.join(f'{axis}={value}' for axis, value in zip(names(axes), values, strict=True))
    try:
      first = load_experiment(file, keys)
      for seed in range(first.seed, first.seed + num_seeds):
        directory = workdir / 'points' / re.sub(r'[^\w.,=+-]', '_', f'{name},seed={seed}')
        own = [('seed', str(seed))]
        if first.init_from is not None:
          start = first.init_from.replace('{seed}', str(seed)).replace('{run}', directory.name)
          own.append(('init_from', start))
        experiment = resolve_experiment(file, [*keys, *own], directory, may_change=MAY_CHANGE)
        points.append(Point(values=values, seed=seed, workdir=directory, experiment=experiment))
    except ConfigError as error:
      raise ConfigError(f'{name}: {error}') from None
  return points


def _damage(figures: Any) -> str:
  """What is wrong with the content of a point.json; '' if nothing is."""
  if not isinstance(figures, dict):
    return 'no JSON object'
  required = PointFigures.__required_keys__
  if paired := PAIRED & figures.keys():  # Runs of earlier versions have none of them.
    required |= PAIRED
  if missing := sorted(required - figures.keys()):
    return f'no {missing[0]}'
  if not paired:
    return ''
  if not isinstance(figures['memory_kind'], str):
    return 'memory_kind is not a text'
  if not isinstance(figures['measured_on'], dict):
    return 'measured_on is not an object'
  return _damage_of_sums(figures['by_document'])


def _damage_of_sums(sums: Any) -> str:
  """The same for `by_document`: lists that NumPy would broadcast must not pass."""
  if not isinstance(sums, dict):
    return 'by_document is not an object'
  for name in sorted(DocumentSums.__required_keys__):
    # `type`, since bool is a subclass of int.
    types = (int,) if name.startswith('num_tokens') else (int, float, type(None))
    values = sums.get(name)
    if not isinstance(values, list) or any(type(value) not in types for value in values):
      return f'by_document.{name} is not a list of numbers'
  lengths = {len(sums[name]) for name in DocumentSums.__required_keys__}
  return '' if len(lengths) == 1 else 'the lists of by_document differ in length'


def _with_arguments(config: str, arguments: Mapping[str, str]) -> str:
  """FILE:argument with more arguments; of several arguments of one name, the last one counts.

  >>> _with_arguments('configs/sort.py:size=cpu', {'memory': 'none'})
  'configs/sort.py:size=cpu,memory=none'
  """
  file, _, given = config.partition(':')
  items = [*filter(None, [given]), *(f'{key}={value}' for key, value in arguments.items())]
  return f'{file}:{",".join(items)}' if items else file
