"""The sweep: its grid, its table, its files, and that a killed one goes on where it was."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from infformer_jax.ablation import summary
from infformer_jax.ablation.grid import Axis, grid
from infformer_jax.ablation.measure import estimate
from infformer_jax.config.stored_config import to_json
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.evaluation.cost import cost
from infformer_jax.memory.registry import CONFIGS
from infformer_jax.nn.model_config import ModelConfig
from tests import toy
from tests.program import ROOT, kill_when

CONFIG = """
from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.sorting import SortingConfig
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.loop import TrainConfig

def get_config(argument=None):
  kind = parse_argument(argument, memory=('continuous', ('none', 'continuous'))).memory
  memories = {'none': NothingConfig(), 'continuous': ContinuousConfig(num_basis=8, num_samples=16)}
  sizes = dict(d_model=16, num_layers=1, num_heads=2, d_ff=16, segment_length=8, short_term_length=8)
  return config_dict(Experiment(
    model=ModelConfig(**sizes, positions='rotary', memory=memories[kind]),
    data=SortingConfig(length=26, num_symbols=4, num_train=100, num_evaluation=8),
    train=TrainConfig(num_steps=3, batch_size=2, segments_per_chunk=4, evaluate_every=100),
    evaluation=EvaluationConfig(batch_size=2),
  ))
"""
BASIS = Axis(key='model.memory.num_basis', values=('8', '16'))


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
  file = tmp_path_factory.mktemp('config') / 'tiny.py'
  file.write_text(CONFIG)
  return str(file)


def environment(folder: pathlib.Path) -> dict[str, str]:
  return os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'XLA_FLAGS': '--xla_backend_optimization_level=0',
  }


def start(config: str, workdir: pathlib.Path, *flags: str) -> subprocess.Popen:
  command = [sys.executable, '-m', 'infformer_jax.ablate', f'--config={config}', f'--workdir={workdir}']
  axis = ['--axis=model.memory.num_basis', '--values=8,16']
  return subprocess.Popen(
    [*command, *(axis if not any('--axis' in flag for flag in flags) else []), *flags],
    cwd=ROOT,
    env=environment(workdir.parent),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finished(workdir: pathlib.Path) -> list[str]:
  return sorted(path.parent.name for path in workdir.glob('points/*/point.json'))


def test_the_grid_is_every_pair_with_every_seed(config, tmp_path):
  axes = [Axis(key=':memory', values=('continuous', 'none')), Axis(key='data.length', values=('26', '30'))]
  points = grid(config, [('train.num_steps', '7'), ('seed', '5')], axes, 2, tmp_path)
  assert [(point.values, point.seed) for point in points][:3] == [
    (('continuous', '26'), 5),
    (('continuous', '26'), 6),
    (('continuous', '30'), 5),
  ]
  assert len(points) == len({point.workdir for point in points}) == 8
  for point in points:
    experiment = point.experiment
    assert (experiment.model.memory.kind, str(experiment.data.length)) == point.values
    assert (experiment.seed, experiment.train.num_steps) == (point.seed, 7)
  assert points[-1].workdir == tmp_path / 'points' / 'memory=none,length=30,seed=6'
  assert not any(tmp_path.iterdir())


def test_an_impossible_point_is_named_before_anything_runs(config, tmp_path):
  for key, values, message in (
    ('model.memory.num_bases', ('8',), "num_bases=8: unknown key 'model.memory.num_bases'"),
    ('model.memory.num_basis', ('8', '-1'), 'num_basis=-1: '),
    (':memory', ('continous',), 'memory=continous: '),
  ):
    with pytest.raises(ConfigError, match=message):
      grid(config, [], [Axis(key=key, values=values)], 1, tmp_path)


def test_one_index_runs_one_point_and_a_killed_sweep_goes_on(config, tmp_path):
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


def test_a_dry_run_prints_the_grid_and_an_index_must_be_in_it(config, tmp_path):
  workdir = tmp_path / 'sweep'
  out, err = start(config, workdir, '--dry_run', '--seeds=2').communicate()
  assert err == ''
  assert len(out.splitlines()) == 1 + 4
  assert 'num_basis=16,seed=1' in out
  assert 'training_tflops' in out
  _, err = start(config, workdir, '--index=2').communicate()
  assert err == 'error: --index = 2: the grid has 2 runs, 0 to 1\n'
  assert not workdir.exists()


def test_runs_that_could_not_be_compared_are_refused(config, tmp_path):
  asked = [('train.num_steps', '3')]
  for point in grid(config, asked, [BASIS], 1, tmp_path):
    point.workdir.mkdir(parents=True)
    (point.workdir / 'config.json').write_text(to_json(point.experiment))
  assert len(grid(config, [*asked, ('evaluation.batch_size', '4')], [BASIS], 1, tmp_path)) == 2
  for other in (('train.num_steps', '6'), ('evaluation.split', 'test')):
    with pytest.raises(
      ConfigError, match=f'num_basis=8: .* another config: {other[0]}: .*, {other[1]} asked'
    ):
      grid(config, [other], [BASIS], 1, tmp_path)


def test_what_cannot_be_read_or_written_is_one_line(config, tmp_path):
  workdir = tmp_path / 'sweep'
  damaged = workdir / 'points/num_basis=16,seed=0/point.json'
  damaged.parent.mkdir(parents=True)
  for text in ('{"values": [', '{}', '3'):
    damaged.write_text(text)
    with pytest.raises(UserError, match=f'{damaged} is damaged .* delete it'):
      summary.summary([BASIS], grid(config, [], [BASIS], 1, workdir))
  (tmp_path / 'file').write_text('')
  _, err = start(config, tmp_path / 'file').communicate()
  assert err.startswith('error: cannot write to ')
  assert len(err.splitlines()) == 1


def test_a_run_that_diverges_does_not_keep_the_others_back(config, tmp_path):
  rates = ('--axis=train.optimizer.learning_rate', '--values=1e38,1e-3')
  process = start(config, tmp_path / 'sweep', *rates, '--config.train.optimizer.warmup_steps=0')
  _, err = process.communicate()
  assert err.startswith('stopped: learning_rate=1e38,seed=0: step ')
  assert process.returncode == 1
  assert finished(tmp_path / 'sweep') == ['learning_rate=1e-3,seed=0']


def test_an_estimate_follows_the_shapes(config, tmp_path):
  small, large = grid(config, [], [BASIS], 1, tmp_path)
  assert estimate(small)['training_tokens'] == 3 * 2 * 4 * 8
  assert estimate(large)['training_tflops'] > estimate(small)['training_tflops']


@pytest.mark.parametrize('kind', CONFIGS)
def test_every_memory_states_its_bytes_and_its_arithmetic(kind):
  model = toy.config(toy.MEMORIES[kind])
  figures = cost(model, toy.VOCABULARY)
  state = toy.build(model)
  assert figures['num_parameters'] == sum(np.size(leaf) for leaf in _leaves(state[1]))
  assert figures['memory_bytes_per_lane'] > 0
  assert (figures['memory_flops_per_token'] > 0) == (kind != 'none')


def test_bytes_of_a_memory_by_hand():
  model = ModelConfig(
    d_model=16, num_layers=2, num_heads=2, d_ff=16, segment_length=8, short_term_length=8,
    memory=CONFIGS['continuous'](num_basis=32, num_samples=32, histogram_bins=64),
  )  # fmt: skip
  per_layer = 32 * 16 * 4 + 64 * 4 + 4  # coefficients, histogram, number of writes
  assert cost(model, 10)['memory_bytes_per_lane'] == 2 * per_layer
  assert cost(model, 10)['cache_bytes_per_lane'] == 2 * 16 * 16 * 4  # lag 2


def _leaves(tree):
  import jax

  return jax.tree.leaves(tree)
