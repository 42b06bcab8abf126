"""`python -m infformer_jax.generate` as a real process: text on stdout, messages on stderr."""

import io
import subprocess
import sys

import pytest

from infformer_jax import job
from infformer_jax.console import Console
from infformer_jax.experiment import load_experiment
from tests.ablation.sweep import write_config

PROMPT = '0 1 2 3 ' * 9


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """The work directory of a model for the sorting task, whose tokens are numbers, with a prompt."""
  experiment = load_experiment(write_config(tmp_path_factory.mktemp('config')))
  workdir = tmp_path_factory.mktemp('generate') / 'W'
  job.train(experiment, workdir, Console(io.StringIO()))
  (workdir / 'prompt.txt').write_text(PROMPT)
  return workdir


def run(workdir, *flags, stdin=''):
  command = [sys.executable, '-m', 'infformer_jax.generate', f'--workdir={workdir}', *flags]
  return subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)


@pytest.mark.slow
def test_only_the_text_is_on_standard_output_and_it_depends_on_the_seed(workdir):
  """The prompt comes from a file, and from standard input with a byte order mark."""
  file, flags = f'--prompt_file={workdir / "prompt.txt"}', ['--max_new_tokens=12']
  first, other = (run(workdir, file, *flags, f'--seed={seed}') for seed in (0, 1))
  again = run(workdir, '--prompt_file=-', *flags, stdin='\N{BYTE ORDER MARK}' + PROMPT)
  assert first.returncode == 0, first.stderr
  words = first.stdout.split()
  assert 6 < len(words) <= 12  # BOS has no text.
  assert all(word.isdecimal() for word in words)
  assert first.stdout == again.stdout != other.stdout
  assert 'prompt.txt: 36 tokens' in first.stderr, first.stderr
  assert 'standard input: 36 tokens' in again.stderr, again.stderr
  assert '12 tokens generated in' in first.stderr


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--prompt_file=nowhere.txt'], '/nowhere.txt: No such file or directory'),
    pytest.param(
      *(['--prompt_file=PROMPT', '--max_new_tokens=0'], '--max_new_tokens = 0 must be in [1, 2^31 - 1]'),
      marks=pytest.mark.slow,
    ),
    pytest.param(
      *(['--prompt_file=PROMPT', f'--seed={2**40}'], '--seed = 1099511627776 must be in [0, 2^32 - 1]'),
      marks=pytest.mark.slow,
    ),
    pytest.param(
      *(['--prompt_file=PROMPT', '--temperature=inf'], '--temperature = inf must be finite and at least 0'),
      marks=pytest.mark.slow,
    ),
  ],
)
def test_invalid_flags_are_one_line_errors(flags, message, workdir):
  done = run(workdir, *(flag.replace('PROMPT', str(workdir / 'prompt.txt')) for flag in flags))
  assert done.returncode == 2
  assert message in done.stderr
  assert done.stderr.count('\n') == 1
  assert done.stdout == ''


@pytest.mark.slow
def test_a_model_that_is_not_finite_stops_with_exit_code_1_and_no_text(workdir, tmp_path):
  experiment = load_experiment(
    write_config(tmp_path),
    [
      ('train.num_steps', '1'),
      ('train.optimizer.learning_rate', '1e30'),
      ('train.optimizer.warmup_steps', '0'),
    ],
  )
  lines = io.StringIO()
  job.train(experiment, tmp_path / 'W', Console(lines))
  assert 'warning: the loss is not a finite number; ' in lines.getvalue()
  done = run(tmp_path / 'W', f'--prompt_file={workdir / "prompt.txt"}')
  assert (done.returncode, done.stdout.strip()) == (1, '')
  assert 'stopped: the output of ' in done.stderr, done.stderr


@pytest.mark.slow
def test_a_memory_of_the_config_file_is_generated_with(workdir, tmp_path):
  own = tmp_path / 'own.py'
  own.write_text(
    'from infformer_jax.memory import registry\n'
    'from tests.ablation.sweep import *\n'
    'from tests.memory.test_registry import Mean, MeanConfig\n'
    'registry.register(MeanConfig, Mean)\n'
    'exec(CONFIG)\n'
  )
  train = [f'--config={own}', f'--workdir={tmp_path / "W"}', '--config.model.memory.kind=mean']
  command = [sys.executable, '-m', 'infformer_jax.main', *train]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  flags = f'--prompt_file={workdir / "prompt.txt"}', '--max_new_tokens=4'
  without = run(tmp_path / 'W', *flags)
  assert without.returncode == 2
  assert "model.memory.kind = 'mean'" in without.stderr
  done = run(tmp_path / 'W', *flags, f'--config={own}')
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip()
