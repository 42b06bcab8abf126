"""The grid of a sweep: its runs, and invalid grids."""

import dataclasses

import pytest

from infformer_jax.ablation.grid import Axis, grid
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.files import write_json
from tests.ablation.sweep import BASIS, write_config


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
  return write_config(tmp_path_factory.mktemp('config'))


def test_the_grid_contains_every_pair_with_every_seed(config, tmp_path):
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


def test_every_run_can_start_from_a_model_of_its_own_seed(config, tmp_path):
  for given, expected in (
    ('/trunk/n={seed}/{seed}', ['/trunk/n=4/4', '/trunk/n=5/5']),
    ('/trunk', ['/trunk', '/trunk']),
  ):
    points = grid(config, [('init_from', given), ('seed', '4')], [BASIS], 2, tmp_path)
    assert [point.experiment.init_from for point in points] == [*expected, *expected]


def test_an_invalid_point_is_an_error_with_its_name_before_any_run(config, tmp_path):
  for key, values, message in (
    ('model.memory.num_bases', ('8',), "num_bases=8: unknown key 'model.memory.num_bases'"),
    ('model.memory.num_basis', ('8', '-1'), 'num_basis=-1: '),
    (':memory', ('continous',), 'memory=continous: '),
  ):
    with pytest.raises(ConfigError, match=message):
      grid(config, [], [Axis(key=key, values=values)], 1, tmp_path)


def test_existing_runs_with_another_config_are_rejected(config, tmp_path):
  asked = [('train.num_steps', '3')]
  for point in grid(config, asked, [BASIS], 1, tmp_path):
    point.workdir.mkdir(parents=True)
    write_json(point.workdir / 'config.json', dataclasses.asdict(point.experiment))
  assert len(grid(config, [*asked, ('evaluation.batch_size', '4')], [BASIS], 1, tmp_path)) == 2
  for other in (('train.num_steps', '6'), ('evaluation.split', 'test')):
    with pytest.raises(
      ConfigError, match=f'num_basis=8: .* another config: {other[0]}: .*, {other[1]} requested'
    ):
      grid(config, [other], [BASIS], 1, tmp_path)


def test_a_damaged_file_of_figures_is_an_error_with_its_name(config, tmp_path):
  point = grid(config, [], [BASIS], 1, tmp_path)[1]
  point.workdir.mkdir(parents=True)
  for text in ('{"values": [', '{}', '3'):
    point.file.write_text(text)
    with pytest.raises(UserError, match=f'{point.file} is damaged .* delete it'):
      point.figures()
