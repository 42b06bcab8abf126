"""Damaged inputs: each is refused in one line that names it, or read; nothing hangs."""

import functools
import os
import pathlib
import random
import shutil

import pytest

from infformer_jax.errors import UserError
from tests.config.test_command_line import refusal
from tests.fuzz import limits
from tests.fuzz.damage import damage
from tests.fuzz.inputs import KINDS

ALL = pytest.param(range(1000), marks=pytest.mark.slow)


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """Builds a kind of input, once; returns its folder and what is read from it."""

  @functools.cache
  def build(name: str) -> tuple[pathlib.Path, object]:
    folder = tmp_path_factory.mktemp('input')
    KINDS[name].build(folder)
    return folder, KINDS[name].read(folder, tmp_path_factory.mktemp('beside'))

  return build


@pytest.mark.parametrize('seeds', [range(5), ALL], ids=len)
@pytest.mark.parametrize('name', KINDS)
@pytest.mark.timeout(3600)
def test_a_damaged_input_is_read_or_refused_in_one_line(name, seeds, built, tmp_path):
  kind, (intact, expected) = KINDS[name], built(name)
  read = 0
  with limits.memory(4 * 2**30):
    for seed in seeds:
      folder, beside = tmp_path / f'{seed}', tmp_path / f'{seed}_beside'
      shutil.copytree(intact, folder)
      beside.mkdir()
      done = damage(folder / kind.damaged, random.Random(f'{name} {seed}'), pipes=kind.pipes)
      try:
        with limits.seconds(20):
          found = kind.read(folder, beside)
        read += 1
        assert found == expected or not kind.restores
      except UserError:
        pass
      except (Exception, limits.Hangs) as error:
        raise AssertionError(f'seed {seed} of {name}, {done}') from error
      for path in (folder, beside):
        shutil.rmtree(path, ignore_errors=True)
  assert read or len(seeds) < 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_files_are_read(tmp_path):
  folder = tmp_path / 'texts'
  for number in range(100_000):
    if number % 1000 == 0:
      (folder / f'{number // 1000}').mkdir(parents=True)
    (folder / f'{number // 1000}' / f'{number}.txt').write_bytes(b'%d and more' % number)
  os.symlink('.', folder / 'loop')
  found = KINDS['text'].read(folder, tmp_path / 'beside')
  assert {name: len(documents) for name, documents in found.items()} == {'train': 95_000, 'validation': 5_000}
  assert b'99999 and more' in {*found['train'], *found['validation']}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_lines_print_one_line(tmp_path):
  """Each program starts, and ends with exit code 2."""
  binary, pipes, long, file = (tmp_path / name for name in ('binary', 'pipes', 'a' * 250, 'file'))
  for folder in (binary, pipes):
    folder.mkdir()
  (binary / 'train.txt').write_bytes(b'\xff\xfe\x00')
  (binary / 'config.json').write_bytes(b'[' * 100_000)
  for name in ('config.json', 'data.json', 'results.json'):
    os.mkfifo(pipes / name)
  file.write_text('x')
  text = ['--config=configs/quickstart.py', '--config.data.kind=text', '--config.data.tokenizer=bytes']
  source = '--config.data.source_dir'
  main, generate, export, plot = (
    ['-m', f'infformer_jax.{name}'] for name in ('main', 'generate', 'export', 'plot')
  )
  for command, sentence in (
    ([*main, f'--workdir={tmp_path}/W', *text, f'{source}={binary}'], 'with the name of a split'),
    ([*main, f'--workdir={tmp_path}/W', *text, f'{source}={binary}/*.txt'], 'validation'),
    ([*main, f'--workdir={tmp_path}/W', *text, f'{source}=/dev/zero'], 'does not exist'),
    (
      [*main, f'--workdir={tmp_path}/W', '--config=configs/quickstart.py', f'--config.init_from={pipes}'],
      'regular',
    ),
    ([*main, f'--workdir={file}', *text, f'{source}={binary}'], 'cannot write to'),
    ([*main, f'--workdir={long}{long.name}', *text, f'{source}={binary}'], 'File name too long'),
    ([*main, f'--workdir={pipes}', '--mode=eval'], 'not a regular file'),
    ([*main, f'--workdir={binary}', '--mode=eval'], 'not a config in JSON'),
    ([*generate, f'--workdir={pipes}', '--prompt_file=x'], 'not a regular file'),
    ([*export, f'--workdir={binary}', f'--out={tmp_path}/out'], 'not a config in JSON'),
    ([*plot, f'--workdir={pipes}'], 'not a regular file'),
  ):
    assert sentence in refusal(*command)
