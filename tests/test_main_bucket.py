"""Real processes whose work directory is in an emulated bucket: kills, faults, two runs in one place.

The variable KILLS sets how many processes are killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from etils import epath

from infformer_jax import paths
from tests.ablation.sweep import write_config
from tests.program import Program, assert_same, checkpoint_steps

pytestmark = pytest.mark.timeout(1800)
KILLS = int(os.environ.get('KILLS', '3'))
WRITES = 150
"""A process is killed at one of its first writes; a run of the program has about twice as many."""


@pytest.fixture(scope='module')
def program(bucket, tmp_path_factory) -> Program:
  return Program(tmp_path_factory.mktemp('program'))


@pytest.fixture
def workdir(bucket, tmp_path) -> epath.Path:
  return paths.parse(f'gs://bucket{tmp_path}/work', '--workdir')


def run_until_write(program: Program, workdir: epath.Path, bucket, number: int) -> bool:
  """Starts the program and kills it at this write; False if it ends before."""
  process, writes = program.start(workdir), []

  def count() -> None:
    writes.append(None)
    if len(writes) == number:
      process.kill()

  bucket.before_write = count
  try:
    out, err = process.communicate()
  finally:
    bucket.before_write = lambda: None
  assert process.returncode in (0, -signal.SIGKILL), f'{out}\n{err}'
  return process.returncode != 0


@pytest.mark.slow
def test_runs_killed_at_any_writes_have_the_same_results(program, undisturbed, bucket, workdir):
  rng, kills, runs = random.Random(0), 0, 1
  while kills < KILLS:
    if run_until_write(program, workdir / str(runs), bucket, rng.randint(1, WRITES)):
      kills += 1
    else:
      assert_same(workdir / str(runs), undisturbed)
      runs += 1
  out, _ = program.run(workdir / str(runs))
  assert 'waiting' not in out  # A process of the same machine has ended for certain.
  assert_same(workdir / str(runs), undisturbed)


@pytest.mark.slow
def test_a_run_continues_while_every_tenth_request_fails_and_the_bucket_is_away_for_20_s(
  program, undisturbed, bucket, workdir
):
  bucket.fails_every = 10
  process = program.start(workdir)
  try:
    while not checkpoint_steps(workdir):
      assert process.poll() is None
      time.sleep(0.1)
    bucket.stop()
    time.sleep(20)
    bucket.start()
    out, err = process.communicate()
  finally:
    bucket.fails_every = 0
  assert process.returncode == 0, f'{out}\n{err}'
  assert_same(workdir, undisturbed)


@pytest.mark.slow
def test_sigterm_saves_and_a_second_run_is_refused_with_the_name_of_the_first(
  program, undisturbed, bucket, workdir
):
  process = program.start(workdir)
  while not (workdir / 'lock').exists():
    assert process.poll() is None
    time.sleep(0.01)
  _, err = program.run(workdir, code=2)
  assert f', process {process.pid}, since ' in err
  process.terminate()
  _, err = process.communicate()
  assert process.returncode == 143, err
  assert 'terminated' in err or 'is saved, run the same command again' in err
  program.run(workdir)
  assert_same(workdir, undisturbed)


def call(program: str, *flags: str) -> subprocess.CompletedProcess[str]:
  command = [sys.executable, '-m', f'infformer_jax.{program}', *flags]
  return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.mark.slow
def test_the_other_programs_read_and_write_in_a_bucket(bucket, workdir, tmp_path):
  """A sweep of one run, a prompt and plots."""
  config = write_config(tmp_path)
  axis = '--axis=train.num_steps', '--values=2'
  call('ablate', f'--config={config}', f'--workdir={workdir}', *axis)
  point = workdir / 'points' / 'num_steps=2,seed=0'
  assert json.loads((workdir / 'ablation.json').read_text())['points'][0]['run'] == point.name
  (workdir / 'prompt.txt').write_text('0 1 2 3 ' * 9)
  prompt = f'--prompt_file={workdir / "prompt.txt"}'
  done = call('generate', f'--workdir={point}', prompt, '--max_new_tokens=5')
  assert f'reads {workdir / "prompt.txt"}: 36 tokens' in done.stderr
  for folder in (workdir, point):
    before = {path.name: path.read_bytes() for path in (folder / 'plots').iterdir()}
    (folder / 'plots').rmtree()
    done = call('plot', f'--workdir={folder}')
    assert done.stdout == f'the plots are in {folder / "plots"}\n'
    assert {path.name: path.read_bytes() for path in (folder / 'plots').iterdir()} == before


def test_a_bucket_that_does_not_exist_is_a_one_line_error(program):
  _, err = program.run(epath.Path('gs://none/work'), code=2)
  assert err.startswith('error: cannot write to gs://none/work: 404 ')
