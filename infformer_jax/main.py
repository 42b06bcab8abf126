"""Trains a model in a work directory, and evaluates it.

    python -m infformer_jax.main --config=configs/quickstart.py --workdir=W
    python -m infformer_jax.main --mode=eval --workdir=W --name=longer --config.model.short_term_length=512

The same command again goes on where the last one stopped; once it is finished it only evaluates. Exit codes:
0 done; 1 stopped: a value is not finite, a disk is full; 2 a mistake in what was asked for; 143 stopped by
SIGTERM, after saving.
"""

import pathlib
import re
import sys

import jax
from absl import flags

from infformer_jax import job
from infformer_jax.config import command_line
from infformer_jax.config.parsing import Overrides
from infformer_jax.console import Console
from infformer_jax.errors import ConfigError
from infformer_jax.experiment import (
  MAY_CHANGE_IN_EVALUATION,
  MAY_CHANGE_IN_TRAINING,
  resolve_experiment,
)
from infformer_jax.train import processes
from infformer_jax.train.exits import Stopped, space

_CONFIG = flags.DEFINE_string(
  'config',
  None,
  "FILE or FILE:argument, such as configs/pg19.py:size=tiny; default: the work directory's own",
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'where everything is kept', required=True)
_MODE = flags.DEFINE_enum('mode', 'train', ['train', 'eval'], 'train and then evaluate, or only evaluate')
_NAME = flags.DEFINE_string(
  'name', 'eval', 'with --mode=eval: the results are kept in results_NAME.json and inspection_NAME'
)
_STEP = flags.DEFINE_integer(
  'step', None, 'with --mode=eval: of the checkpoint, such as the best; default: the newest'
)


def main(overrides: Overrides) -> None:
  """The command line; `overrides` is what the --config.key=value flags say."""
  if not _WORKDIR.value:
    raise ConfigError('--workdir is empty; name a directory')
  if not re.fullmatch(r'[\w.-]+', _NAME.value):
    raise ConfigError(f"--name = '{_NAME.value}' is part of a file's name: letters, digits, '.', '_' and '-'")
  workdir, trains = pathlib.Path(_WORKDIR.value), _MODE.value == 'train'
  if trains and _STEP.value is not None:
    raise ConfigError('--step is for --mode=eval; a training goes on from the newest checkpoint')
  may_change = MAY_CHANGE_IN_TRAINING if trains else MAY_CHANGE_IN_EVALUATION
  experiment = resolve_experiment(_CONFIG.value, overrides, workdir, may_change=may_change)
  processes.initialize()  # Before anything else of jax, but after what is refused without waiting for others.
  console = Console(quiet=jax.process_index() > 0)
  try:
    with space(workdir):
      if trains:
        job.train(experiment, workdir, console)
      else:
        job.evaluate(experiment, workdir, console, name=_NAME.value, step=_STEP.value)
  except Stopped as stopped:
    console.end_status()
    print(f'stopped: {stopped}', file=sys.stderr)
    sys.exit(stopped.code)


if __name__ == '__main__':
  command_line.run(main)
