"""Random command lines: each is refused in one line that names what is wrong, or can run."""

import re
import shlex

import jax
import pytest
from etils import epath

from infformer_jax import job, resume
from infformer_jax.config.command_line import split_overrides
from infformer_jax.data.base import StoredSplit
from infformer_jax.data.cut_documents import cut_documents
from infformer_jax.data.lanes import evaluated_lengths
from infformer_jax.data.load import load_corpus
from infformer_jax.data.tasks import TaskConfig
from infformer_jax.errors import UserError
from infformer_jax.evaluation import perplexity
from infformer_jax.experiment import Experiment, resolve_experiment
from infformer_jax.nn import transformer
from infformer_jax.run_warnings import beyond_horizon, run_warnings
from infformer_jax.train.optimizer import make_optimizer
from infformer_jax.train.state import initial_state
from tests.fuzz import limits
from tests.fuzz.command_lines import CONFIGS, FILES, command_line
from tests.test_configs import batch_of

WORKDIR = epath.Path('/nowhere/W')
STORED = StoredSplit.from_tokens([range(5), range(40), range(3000)])
FEW, ALL = range(25), pytest.param(range(1000), marks=pytest.mark.slow)
MEMORY = 4 * 2**30


def experiment_of(flags: list[str]) -> Experiment | UserError:
  """What the command line asks for, after all checks before the data are read; or the error of the user."""
  try:
    with limits.seconds(20):
      (config,), overrides = split_overrides(flags)
      experiment = resolve_experiment(config.removeprefix('--config='), overrides, WORKDIR, may_change=())
      check(experiment)
      return experiment
  except UserError as error:
    return error
  except (Exception, limits.Hangs) as error:
    raise AssertionError(reproduced(flags)) from error


def reproduced(flags: list[str]) -> str:
  return shlex.join(['python', '-m', 'infformer_jax.main', '--workdir=W', *flags])


def check(experiment: Experiment) -> None:
  """What `job.train` does before long work, in its order; the texts are others."""
  train, evaluation = experiment.train, experiment.evaluation
  job.fitting_mesh(experiment, trains=True)
  if not (experiment.init_from or '').startswith(('hf:', 'gs:')):
    resume.start(experiment, WORKDIR)
  split = STORED
  if isinstance(experiment.data, TaskConfig):
    split = load_corpus(experiment.data, WORKDIR, ('train', evaluation.split)).split('train')
  perplexity.require_targets(split, evaluation)
  cut_documents(split, train.max_document_tokens)
  lines = list(run_warnings(experiment, split, WORKDIR))
  lengths_i = evaluated_lengths(split, evaluation.max_tokens)
  lines += beyond_horizon(experiment, evaluation.split, lengths_i, 'document')
  assert all(line and '\n' not in line for line in lines)


def named(flags: list[str]) -> set[str]:
  """Parts of the keys that a command line sets, one of which its error names."""
  keys = {part for flag in flags[1:] for part in flag.partition('=')[0].split('.')[1:]}
  # An empty key has no name.
  return keys | {'config', 'argument', 'checkpoint', 'length', 'size', *(['key'] if '' in keys else [])}


@pytest.mark.parametrize('seeds', [FEW, ALL], ids=len)
@pytest.mark.parametrize('file', FILES, ids=lambda file: file.name)
def test_a_random_command_line_can_run_or_is_refused_with_the_key(file, seeds):
  valid = 0
  with limits.memory(MEMORY):
    for seed in seeds:
      flags = command_line(file, seed)
      found = experiment_of(flags)
      if isinstance(found, Experiment):
        valid += 1
      else:
        words = set(re.findall(r'\w+', str(found)))
        assert words & {word for key in named(flags) for word in re.findall(r'\w+', key)}, (
          f'{found}: {reproduced(flags)}'
        )
  assert 0.1 < valid / len(seeds) < 0.9  # Otherwise it is no test.


@pytest.mark.parametrize(
  ('file', 'seeds'),
  [
    ('quickstart.py', range(0, 12, 3)),
    *(pytest.param(file.name, range(0, 1000, 3), marks=pytest.mark.slow) for file in FILES),
  ],
)
@pytest.mark.timeout(3600)
def test_the_model_of_a_random_command_line_can_be_traced(file, seeds):
  """No shape is wrong only in the model; nothing is computed. Each model is traced once."""
  traced = set()
  with limits.memory(MEMORY):
    for seed in seeds:
      flags = command_line(CONFIGS / file, seed)
      found = experiment_of(flags)
      if isinstance(found, UserError) or found.model in traced or found.model.num_layers > 4:
        continue
      traced.add(found.model)
      try:
        with limits.seconds(120):
          trace(found)
      except (Exception, limits.Hangs) as error:
        raise AssertionError(reproduced(flags)) from error
  assert traced


def trace(experiment: Experiment) -> None:
  """The shapes of the training state, and of a chunk."""
  train, model = experiment.train, experiment.model
  optimizer = make_optimizer(train.optimizer, train.num_steps)
  numbers = {'vocab_size': 300, 'batch_size': train.batch_size, 'seed': experiment.seed}
  graphdef, state = jax.eval_shape(lambda: initial_state(model, optimizer, **numbers))
  batch = batch_of(train.batch_size, train.segments_per_chunk, model.segment_length)

  def chunk(params, batch, memory, key):
    return transformer.merge(graphdef, params)(batch, memory, key=key)

  output = jax.eval_shape(chunk, state.params, batch, state.memory, state.key)
  assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), output.state) == jax.tree.map(
    lambda leaf: (leaf.shape, leaf.dtype), state.memory
  )
