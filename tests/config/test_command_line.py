"""Errors of the command lines: one line and exit code 2, before any work is done."""

import pathlib
import resource
import subprocess
import sys
import textwrap

import pytest
from absl import flags as absl_flags
from etils import epath

from infformer_jax.config.command_line import path, split_overrides
from infformer_jax.errors import ConfigError

ROOT = pathlib.Path(__file__).parents[2]


def run(*command: str, **kwargs) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, *command], capture_output=True, text=True, timeout=120, cwd=ROOT, **kwargs
  )


def refusal(*command: str) -> str:
  """The single error line of a program that rejects its command line."""
  done = run(*command)
  assert done.returncode == 2, done.stderr
  assert done.stdout == ''
  (line,) = done.stderr.splitlines()
  assert line.startswith('error: ')
  return line.removeprefix('error: ')


def test_overrides_are_separated_from_the_flags():
  argv = ['main', '--workdir=w', '--config.a.b=1=2', '--config=f.py', '--config.c', '-3', '--', '--config.d']
  rest, overrides = split_overrides([*argv, '4'])
  assert rest == ['main', '--workdir=w', '--config=f.py', '--']
  assert overrides == [('a.b', '1=2'), ('c', '-3'), ('d', '4')]


@pytest.mark.parametrize('rest', [[], ['--workdir=w'], ['--config.b=1']])
def test_an_override_without_a_value_is_rejected(rest):
  with pytest.raises(ConfigError, match='flag --config.a has no value; write --config.a=value'):
    split_overrides(['main', '--config.a', *rest])


def test_a_path_flag_is_a_local_path_or_one_in_a_bucket():
  values = absl_flags.FlagValues()
  flag = absl_flags.DEFINE_string('workdir', None, 'where', flag_values=values)

  def given(text: str) -> epath.Path:
    values(['program', f'--workdir={text}'])
    return path(flag)

  assert given('a/b') == epath.Path(pathlib.Path.cwd() / 'a' / 'b')
  assert given('gs://bucket/run') == epath.Path('gs://bucket/run')
  with pytest.raises(ConfigError, match="--workdir = '' must be a path"):
    given('')
  with pytest.raises(ConfigError, match="--workdir = 's3://b' must be a local path .*; s3:// is not"):
    given('s3://b')


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> str:
  """A command line whose --workdir determines how it ends."""
  file = tmp_path_factory.mktemp('program') / 'program.py'
  file.write_text(
    textwrap.dedent(
      """
      import signal
      import threading
      from absl import flags
      from google.api_core import exceptions
      from infformer_jax import errors
      from infformer_jax.config import command_line

      flags.DEFINE_string('config', None, 'FILE[:argument]')
      flags.DEFINE_enum('mode', 'train', ['train', 'eval'], 'what to do')
      flags.DEFINE_integer('count', 1, 'how many')
      workdir = flags.DEFINE_string('workdir', None, 'where', required=True)

      def main(overrides):
        if workdir.value == 'user': raise errors.UserError('the disk\\nis full')
        if workdir.value == 'bug': raise ValueError('a bug')
        if workdir.value == 'host': raise MemoryError('16 TiB\\nfor an array')
        if workdir.value == 'device': raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory')
        if workdir.value == 'bucket': raise exceptions.Forbidden('no\\naccess')
        if workdir.value == 'stopped':
          print('so far')
          threading.Thread(target=threading.Event().wait).start()  # Stands for a compilation.
          raise KeyboardInterrupt
        if workdir.value == 'terminated': signal.raise_signal(signal.SIGTERM)
        for _ in range(100_000 if workdir.value == 'long' else 1):
          print(overrides, flags.FLAGS.config)

      if __name__ == '__main__':
        command_line.run(main)
      """
    )
  )
  return str(file)


def test_main_receives_the_overrides_and_absl_the_other_flags(program):
  done = run(program, '--workdir=w', '--config.a=1', '--config=f.py', '--config.b', '2')
  assert (done.returncode, done.stdout) == (0, "[('a', '1'), ('b', '2')] f.py\n")


@pytest.mark.parametrize(
  ('flags', 'sentence'),
  [
    (['--workdr=w'], "unknown flag '--workdr'; did you mean '--workdir'? (allowed: --"),
    (
      ['--confg.model.d_model=3'],
      "unknown flag '--confg.model.d_model'; did you mean '--config.model.d_model'?",
    ),
    (['--workdir=w', '--mode=evl'], "--mode = 'evl' must be one of train, eval; did you mean 'eval'?"),
    (['--workdir=w', '--count=many'], "--count = 'many' must be an int"),
    (['--workdir=w', 'eval'], "unknown argument 'eval' (allowed: --"),
    (['--workdir'], 'Missing value for flag --workdir'),
    (['--mode=eval'], '--workdir is missing: where'),
    (['--workdir=user'], 'the disk is full'),
    (['--workdir=host'], 'memory is too small for these sizes (16 TiB for an array); use smaller ones'),
    (['--workdir=device'], 'memory is too small for these sizes (RESOURCE_EXHAUSTED: Out of memory)'),
  ],
)
def test_user_errors_are_one_line(program, flags, sentence):
  assert sentence in refusal(program, *flags)


def test_an_error_of_a_bucket_is_one_line_with_an_exit_code_of_its_own(program):
  done = run(program, '--workdir=bucket')
  assert (done.returncode, done.stderr) == (75, 'error: a bucket cannot be used: 403 no access\n')


def test_other_exceptions_keep_their_traceback(program):
  done = run(program, '--workdir=bug')
  assert done.returncode == 1
  assert 'Traceback' in done.stderr
  assert 'a bug' in done.stderr


def test_an_interrupt_and_a_closed_pipe_are_not_errors(program):
  done = run(program, '--workdir=stopped')
  assert (done.returncode, done.stdout, done.stderr) == (130, 'so far\n', 'interrupted\n')
  done = run(program, '--workdir=terminated')
  assert (done.returncode, done.stderr) == (143, 'terminated\n')
  with subprocess.Popen(
    [sys.executable, program, '--workdir=long'], stdout=subprocess.PIPE, stderr=subprocess.PIPE
  ) as piped:
    assert piped.stdout is not None
    assert piped.stderr is not None
    piped.stdout.readline()
    piped.stdout.close()
    assert piped.stderr.read() == b''
    assert piped.wait(timeout=60) == 141


QUICKSTART = '--config=configs/quickstart.py'


@pytest.mark.parametrize(
  ('flags', 'sentence'),
  [
    (
      [QUICKSTART, '--config.model.memory.num_bases=8'],
      "'model.memory.num_bases'; did you mean 'num_basis'?",
    ),
    ([QUICKSTART, '--config.train.num_steps=many'], "train.num_steps = 'many' must be an int"),
    ([QUICKSTART, '--config.model.d_model', '65'], 'model.d_model = 65 must be a multiple of num_heads = 4'),
    (
      [QUICKSTART, '--config.model.memory.kind=recnt'],
      'must be one of none, recent, compressive, neighbours, continuous, stacked; did',
    ),
    (
      [QUICKSTART, '--model.d_model=64'],
      "unknown flag '--model.d_model'; did you mean '--config.model.d_model'?",
    ),
    (
      [QUICKSTART, '--workdir=s3://bucket/run'],
      "--workdir = 's3://bucket/run' must be a local path or begin",
    ),
    (['--config=configs/pg91.py'], "unknown config file 'configs/pg91.py'; did you mean 'configs/pg19.py'?"),
    (
      ['--config=configs/pg19.py:size=tinny'],
      "argument size = 'tinny' must be one of tiny, small, base, large",
    ),
  ],
)
def test_main_rejects_invalid_settings_before_it_reads_or_writes_anything(tmp_path, flags, sentence):
  workdir = tmp_path / 'work'
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert sentence in refusal('-m', 'infformer_jax.main', f'--workdir={workdir}', *flags)
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert not workdir.exists()
  # CPU seconds do not depend on the load of the machine; a compilation would take longer.
  assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3


@pytest.mark.parametrize('program', ['generate', 'main'])
def test_every_program_requires_a_work_directory(program):
  assert refusal('-m', f'infformer_jax.{program}').startswith('--workdir is missing: ')
