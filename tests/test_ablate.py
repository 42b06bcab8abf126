"""The command line of sweeps in real processes: resuming after a kill, the output, and errors."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import pytest

from infformer_jax.results_schema import Sweep
from tests.ablation.sweep import write_config
from tests.program import ROOT, kill_when
from tests.schema import assert_conforms


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
  return write_config(tmp_path_factory.mktemp('config'))


def environment(folder: pathlib.Path) -> dict[str, str]:
  return os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'XLA_FLAGS': '--xla_backend_optimization_level=0',
  }


def start(config: str, workdir: pathlib.Path, *flags: str, kilobytes: int | None = None) -> subprocess.Popen:
  """Starts a sweep. Files are limited to `kilobytes`."""
  limited = ['bash', '-c', f'ulimit -f {kilobytes} && exec "$@"', 'bash'] if kilobytes else []
  command = [
    *limited,
    sys.executable,
    '-m',
    'infformer_jax.ablate',
    f'--config={config}',
    f'--workdir={workdir}',
  ]
  axis = ['--axis=model.memory.num_basis', '--values=8,16']
  return subprocess.Popen(
    [*limited, *command, *(axis if not any('--axis' in flag for flag in flags) else []), *flags],
    cwd=ROOT,
    env=environment(workdir.parent),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finished(workdir: pathlib.Path) -> list[str]:
  return sorted(path.parent.name for path in workdir.glob('points/*/point.json'))


@pytest.mark.slow
def test_one_index_runs_one_point_and_a_killed_sweep_resumes(config, tmp_path):
  workdir = tmp_path / 'sweep'
  out, err = start(config, workdir, '--index=1').communicate()
  assert err == ''
  assert finished(workdir) == ['num_basis=16,seed=0']
  assert json.loads((workdir / 'ablation.json').read_text())['missing'] == ['num_basis=8,seed=0']
  done, other = (workdir / f'points/num_basis={n},seed=0' for n in (16, 8))
  before = (done / 'point.json').stat().st_mtime_ns
  kill_when(start(config, workdir), (other / 'config.json').is_file)
  out, err = start(config, workdir).communicate()
  assert err == ''
  assert (done / 'point.json').stat().st_mtime_ns == before
  assert finished(workdir) == ['num_basis=16,seed=0', 'num_basis=8,seed=0']
  assert '== num_basis=8,seed=0 (0 of 2)' in out
  assert '== num_basis=16' not in out

  found = json.loads((workdir / 'ablation.json').read_text())
  assert_conforms(found, Sweep)
  assert (found['metric'], found['missing']) == ('accuracy', [])
  assert [row['num_basis'] for row in found['rows']] == ['8', '16']
  small, large = found['rows']
  assert 0 < large['regression_error'] < small['regression_error'] < 1
  assert 4 < small['capacity'] <= 8 < large['capacity'] <= 16
  assert small['effective_rank'] < large['effective_rank']
  assert large['memory_bytes_per_lane'] - small['memory_bytes_per_lane'] == 8 * 16 * 4
  for name in ('ms_per_segment_forward', 'ms_per_segment_forward_backward', 'memory_flops_per_token'):
    assert large[name] > 0
  with (workdir / 'ablation.csv').open() as file:
    lines = list(csv.DictReader(file))
  assert [line['num_basis'] for line in lines] == ['8', '16']
  assert float(lines[1]['regression_error']) == pytest.approx(large['regression_error'])
  for name in ('ablation', 'cost'):
    assert (workdir / 'plots' / f'{name}.png').stat().st_size > 10_000

  process = start(config, workdir, kilobytes=2)
  _, err = process.communicate()
  assert (process.returncode, err.count('\n')) == (1, 1), err
  assert err.startswith('stopped: ')
  assert err.endswith(': File too large; free some space and run the same command again\n')


def test_a_dry_run_prints_the_grid_and_an_index_must_be_in_it(config, tmp_path):
  workdir = tmp_path / 'sweep'
  out, err = start(config, workdir, '--dry_run', '--seeds=2').communicate()
  assert err == ''
  assert len(out.splitlines()) == 1 + 4
  assert 'num_basis=16,seed=1' in out
  assert 'training_tflops' in out
  _, err = start(config, workdir, '--index=2').communicate()
  assert err == 'error: --index = 2 must be a run of the grid; use 0 to 1\n'
  assert not workdir.exists()


def test_a_trunk_that_is_missing_for_one_seed_is_an_error_before_any_run(config, tmp_path):
  trunk = f'--config.init_from={tmp_path}/trunk,seed={{seed}}'
  _, err = start(config, tmp_path / 'sweep', trunk, '--config.seed=4').communicate()
  assert err.startswith(f'error: init_from = {tmp_path}/trunk,seed=4 has no checkpoint; ')
  assert not (tmp_path / 'sweep').exists()


def test_a_directory_that_cannot_be_written_is_a_one_line_error(config, tmp_path):
  (tmp_path / 'file').write_text('')
  _, err = start(config, tmp_path / 'file').communicate()
  assert err.startswith('error: cannot write to ')
  assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_run_that_diverges_does_not_stop_the_others(config, tmp_path):
  rates = ('--axis=train.optimizer.learning_rate', '--values=1e38,1e-3')
  process = start(config, tmp_path / 'sweep', *rates, '--config.train.optimizer.warmup_steps=0')
  _, err = process.communicate()
  assert err.startswith('stopped: learning_rate=1e38,seed=0: step ')
  assert process.returncode == 1
  assert finished(tmp_path / 'sweep') == ['learning_rate=1e-3,seed=0']
