"""What the checks of a command line accept also runs: two steps, evaluation, inspection and plots."""

import collections
import dataclasses
import io
import json
import math
import pathlib
import random
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from etils import epath

from infformer_jax import job
from infformer_jax.config.command_line import split_overrides
from infformer_jax.console import Console
from infformer_jax.errors import UserError
from infformer_jax.experiment import Experiment, resolve_experiment
from infformer_jax.train.exits import NotFiniteError, NotFiniteModelError, storage
from tests.fuzz import limits
from tests.fuzz.command_lines import plausible
from tests.program import Program

FAST = ('--config.train.num_steps=2', '--config.evaluation.max_tokens=200')
LARGE = 1_000  # A larger number may be valid, but is no quick run.


def numbers(section: Any) -> Iterator[int]:
  """All integers of a config except seeds, and limits of what is there."""
  for field in dataclasses.fields(section):
    value = getattr(section, field.name)
    if dataclasses.is_dataclass(value):
      yield from numbers(value)
    elif isinstance(value, int) and not field.name.startswith(('max_', 'seed')):
      yield value


def accepted(flags: list[str], config: pathlib.Path, workdir: epath.Path) -> Experiment | None:
  """What the command line asks for, if it is accepted and quick."""
  try:
    found = resolve_experiment(str(config), split_overrides(flags)[1], workdir, may_change=())
  except UserError:
    return None
  return found if max(numbers(found)) <= LARGE else None


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('seeds', [range(100)], ids=len)
def test_what_is_accepted_runs(seeds, tmp_path):
  config, ended = Program(tmp_path).config, collections.Counter()
  for seed in seeds:
    flags = [*plausible(random.Random(seed), str(config)), *FAST]
    workdir = epath.Path(tmp_path / f'{seed}')
    experiment = accepted(flags, config, workdir)
    if experiment is None:
      continue
    try:
      with limits.seconds(280), storage(workdir):
        job.train(experiment, workdir, Console(io.StringIO()))
      results = json.loads((workdir / 'results.json').read_text())
      assert results['step'] == 2
      assert math.isfinite(results['memory']['loss_nats_per_token'])
      ended['finished'] += 1
    except (UserError, NotFiniteError, NotFiniteModelError) as error:
      ended[type(error).__name__] += 1
      if '\n' in str(error):
        raise
    except (Exception, limits.Hangs) as error:
      raise AssertionError(f'seed {seed}: {shlex.join(flags)}') from error
  print(f'{len(seeds)} command lines: {dict(ended)}')
  assert ended['finished'] > len(seeds) // 4
