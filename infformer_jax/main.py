"""Trains a model in a work directory, and evaluates it.

    python -m infformer_jax.main --config=configs/quickstart.py --workdir=W
    python -m infformer_jax.main --mode=eval --workdir=W --name=longer --config.model.short_term_length=512

The same command resumes a run that was stopped; a finished run is only evaluated. Exit codes: 0 finished;
1 stopped, because a value is not finite or a disk is full; 2 the command line or the config is wrong;
75 a bucket cannot be reached, or another process of the run has died, and the same command may succeed later;
143 stopped by SIGTERM, after saving. An error in one of several processes ends all of them, with its code.
"""

import re

from absl import flags

from infformer_jax import job, startup
from infformer_jax.config import command_line
from infformer_jax.config.parsing import Overrides
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.experiment import (
  MAY_CHANGE_IN_EVALUATION,
  MAY_CHANGE_IN_TRAINING,
  resolve_experiment,
)
from infformer_jax.train import joined, processes
from infformer_jax.train.exits import storage

flags.adopt_module_key_flags(startup)
_CONFIG = flags.DEFINE_string(
  'config',
  None,
  "FILE or FILE:argument, such as configs/pg19.py:size=tiny; default: the work directory's own",
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'the directory of the run', required=True)
_MODE = flags.DEFINE_enum('mode', 'train', ['train', 'eval'], 'train and then evaluate, or only evaluate')
_NAME = flags.DEFINE_string('name', 'eval', 'with --mode=eval: writes results_NAME.json and inspection_NAME')
_STEP = flags.DEFINE_integer(
  'step', None, 'with --mode=eval: the step of the checkpoint, such as the best; default: the newest'
)


def main(overrides: Overrides) -> None:
  """The command line; `overrides` are the --config.key=value flags."""
  if not re.fullmatch(r'[\w.-]+', _NAME.value):
    raise ConfigError(f"--name = '{_NAME.value}' must consist of letters, digits, '.', '_' and '-'")
  workdir, trains = command_line.path(_WORKDIR), _MODE.value == 'train'
  check_range('--step', _STEP.value, 0)
  if trains and _STEP.value is not None:
    raise ConfigError('--step is for --mode=eval; a training run resumes from the newest checkpoint')
  may_change = MAY_CHANGE_IN_TRAINING if trains else MAY_CHANGE_IN_EVALUATION
  experiment = resolve_experiment(_CONFIG.value, overrides, workdir, may_change=may_change)
  startup.prepare()
  processes.initialize()  # Before any other call of jax, and after all checks that do not need it.
  with joined.together() as console, storage(workdir):
    if trains:
      job.train(experiment, workdir, console)
    else:
      job.evaluate(experiment, workdir, console, name=_NAME.value, step=_STEP.value)


if __name__ == '__main__':
  command_line.run(main)
