"""Trains one model per value of a config key and compares them.

    python -m infformer_jax.ablate --config=configs/sort.py --axis=model.memory.num_basis \\
      --values=64,128,256 --seeds=3 --workdir=W

Any config key can be the axis, and --axis2 makes a second one; ':memory' is the argument `memory` of the
config file, as in configs/sort.py:memory=recent. The runs are in W/points and run one after another; with
--index=I only run I of the grid runs, so that every run can have a process of its own (SLURM and TPU arrays).
The same command resumes a sweep that was stopped. A run whose values are not finite ends, and the other runs
follow. W/ablation.csv and .json have the figures of the finished runs, W/plots the plots.

    python -m infformer_jax.ablate --config=configs/sort.py --axis=:memory --seeds=5 --workdir=W \\
      --values=none,recent_4x,recent_8x,recent_16x,continuous

With a setting without a memory (`none`) in the grid, every other one is compared with it: runs of one seed
start from the same parameters and read the same documents, so that the difference, averaged over seeds, has
smaller errors than the losses; they are given over seeds and over documents. Exact windows (`recent`) show
what can be gained at all. Each run can start from another model: in
--config.init_from=TRUNK/points/memory=none,seed={seed}, {seed} is the seed of the run, and in
--config.init_from=SHORT/points/{run}, {run} is the name of its directory, so that each run of the sweep
SHORT is continued.
"""

import sys

from absl import flags
from etils import epath

from infformer_jax import resume, startup
from infformer_jax.ablation import measure, summary, tables
from infformer_jax.ablation.grid import Axis, Point, grid
from infformer_jax.config import command_line
from infformer_jax.config.parsing import Overrides
from infformer_jax.console import Console
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.results_schema import Sweep
from infformer_jax.train import joined, processes
from infformer_jax.train.exits import NotFiniteError, Stopped, storage

flags.adopt_module_key_flags(startup)
_CONFIG = flags.DEFINE_string('config', None, 'FILE or FILE:argument, such as configs/sort.py', required=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'the directory of the sweep', required=True)
_AXIS = flags.DEFINE_string('axis', None, 'a config key, such as model.memory.num_basis', required=True)
_VALUES = flags.DEFINE_string('values', None, 'its values, such as 64,128,256', required=True)
_AXIS2 = flags.DEFINE_string('axis2', None, 'a second key; all pairs are run')
_VALUES2 = flags.DEFINE_string('values2', None, 'the values of --axis2')
_SEEDS = flags.DEFINE_integer('seeds', 1, 'runs per setting, with successive seeds')
_INDEX = flags.DEFINE_integer('index', None, 'only this run of the grid, counted from 0')
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'only print the grid and the estimated cost of each run')


def main(overrides: Overrides) -> None:
  """The command line; `overrides` are the --config.key=value flags, for all runs."""
  axes = _axes()
  check_range('--seeds', _SEEDS.value, 1)
  workdir = command_line.path(_WORKDIR)
  points = grid(_CONFIG.value, overrides, axes, _SEEDS.value, workdir)
  if _INDEX.value is not None and not 0 <= _INDEX.value < len(points):
    raise ConfigError(f'--index = {_INDEX.value} must be a run of the grid; use 0 to {len(points) - 1}')
  if _DRY_RUN.value:
    print(tables.rows_table([_row(index, point) for index, point in enumerate(points)]))
    return
  for point in points:
    if point.file.exists():
      point.figures()  # Raises now, not after hours, if the file is damaged.
  chosen = points if _INDEX.value is None else [points[_INDEX.value]]
  startup.prepare()
  processes.initialize()
  with joined.together() as console:
    _run(axes, points, chosen, workdir, console)


def _run(
  axes: list[Axis], points: list[Point], chosen: list[Point], workdir: epath.Path, console: Console
) -> None:
  """Trains the chosen runs of the grid that have not finished, and exits if one of them diverges."""
  for point in chosen:
    if not point.file.exists():  # Raises now, not after hours, if the run could not start.
      resume.require_initial_parameters(point.experiment, point.workdir)
  diverged = 0
  for point in chosen:
    if point.file.exists():
      continue
    console.say(f'== {point.workdir.name} ({points.index(point)} of {len(points)})')
    try:
      with storage(point.workdir):
        measure.run(point, points, console)
    except NotFiniteError as error:
      console.end_status()
      print(f'stopped: {point.workdir.name}: {error}', file=sys.stderr)
      diverged = error.code
      continue
    except Stopped as stopped:
      stopped.args = (f'{point.workdir.name}: {stopped}',)
      raise
    _summarize(axes, points, workdir)
  console.say(tables.results(_summarize(axes, points, workdir)))
  console.say(f'everything is in {workdir}: ablation.csv, ablation.json, plots/, points/')
  if diverged:
    sys.exit(diverged)


def _axes() -> list[Axis]:
  pairs = [('axis', _AXIS.value, _VALUES.value), ('axis2', _AXIS2.value, _VALUES2.value)]
  axes = []
  for flag, key, text in pairs:
    if not key and not text:
      continue
    if not key or not text:
      raise ConfigError(f'--{flag} and --{flag.replace("axis", "values")} must be given together')
    values = tuple(value for value in text.split(',') if value)
    if not values or len(set(values)) < len(values):
      raise ConfigError(
        f"--{flag.replace('axis', 'values')} = '{text}' must have every value once, as in 64,128"
      )
    if key == 'seed':
      raise ConfigError(
        f'--{flag} = seed must be another key; use --seeds=3 for seeds that start with --config.seed'
      )
    axes.append(Axis(key=key, values=values))
  if len({axis.key for axis in axes}) < len(axes):
    raise ConfigError(
      f'--axis2 = {axes[1].key} must not be the key of --axis; give all of its values with --values'
    )
  return axes


def _row(index: int, point: Point) -> dict:
  return {
    'index': index,
    'run': point.workdir.name,
    'finished': 'yes' if point.file.exists() else 'no',
    **measure.estimate(point),
  }


def _summarize(axes: list[Axis], points: list[Point], workdir: epath.Path) -> Sweep:
  """Writes the figures of the finished runs."""
  from infformer_jax.plotting import ablation as plots

  with storage(workdir):
    return summary.keep(axes, points, workdir, lambda sweep: plots.sweep(sweep, workdir))


if __name__ == '__main__':
  command_line.run(main)
