"""launch/finetune_gpt2.sh: the commands that it would run."""

import json
import pathlib
import shlex
import subprocess

from infformer_jax.config.parsing import load_config
from infformer_jax.experiment import Experiment

SCRIPT = str(pathlib.Path(__file__).parents[2] / 'launch/finetune_gpt2.sh')


def run(*flags: str, cwd: pathlib.Path, code: int = 0) -> tuple[list[list[str]], str]:
  """The commands that a dry run prints, and its errors."""
  done = subprocess.run([SCRIPT, *flags, '--dry_run'], cwd=cwd, capture_output=True, text=True)
  assert done.returncode == code, done.stderr
  return [shlex.split(line) for line in done.stdout.splitlines()], done.stderr


def test_the_commands_are_possible_with_a_checkpoint(tmp_path):
  """Paths are relative to where the user is; the first run changes nothing."""
  (tmp_path / 'gpt2').mkdir()
  (tmp_path / 'gpt2/config.json').write_text(
    json.dumps({'model_type': 'gpt2', 'vocab_size': 300, 'n_layer': 2})
  )
  flags = '--checkpoint=gpt2', '--source_dir=books', '--workdir=W', '--config.train.num_steps=300'
  commands, _ = run(*flags, cwd=tmp_path)
  modules = [command[command.index('-m') + 1].rpartition('.')[2] for command in commands]
  assert modules == ['main', 'ablate', 'export']
  given = [dict(flag.removeprefix('--').split('=', 1) for flag in command[3:]) for command in commands]
  unchanged, tuned = (
    load_config(
      flags['config'],
      [(key.removeprefix('config.'), text) for key, text in flags.items() if key.startswith('config.')],
      cls=Experiment,
    )
    for flags in given[:2]
  )
  assert unchanged.init_from == tuned.init_from == str(tmp_path / 'gpt2')
  assert unchanged.data.source_dir == tuned.data.source_dir == str(tmp_path / 'books')
  assert (unchanged.train.num_steps, unchanged.train.optimizer.learning_rate) == (1, 0)
  assert (unchanged.model.memory.kind, tuned.model.memory.kind) == ('none', 'continuous')
  assert (tuned.train.num_steps, tuned.model.num_layers) == (300, 2)
  assert given[1]['values'] == 'none,published'
  assert given[2] == {
    'workdir': f'{tmp_path}/W/memories/points/memory=published,seed=0',
    'out': f'{tmp_path}/W/exported',
  }


def test_a_flag_that_is_missing_or_unknown_is_named(tmp_path):
  commands, error = run('--checkpoint=gpt2', cwd=tmp_path, code=2)
  assert not commands
  assert error.startswith('error: --source_dir is missing')
  assert run('--chekpoint=gpt2', cwd=tmp_path, code=2)[1].startswith('error: unknown flag --chekpoint=gpt2')
