"""The grid of a sweep: its runs, and invalid grids."""

import dataclasses
import re

import pytest

from infformer_jax.ablation.grid import Axis, grid
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.files import write_json
from tests.ablation.sweep import BASIS, text_run, write_config


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


def test_every_run_can_start_from_a_model_of_its_own(config, tmp_path):
  runs = [f'/short/points/num_basis={n},seed={seed}' for n in BASIS.values for seed in (4, 5)]
  for given, expected in (
    ('/trunk/n={seed}/{seed}', ['/trunk/n=4/4', '/trunk/n=5/5'] * 2),
    ('/short/points/{run}', runs),
    ('/trunk', ['/trunk'] * 4),
  ):
    points = grid(config, [('init_from', given), ('seed', '4')], [BASIS], 2, tmp_path)
    assert [point.experiment.init_from for point in points] == expected


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


ABSENT = object()
RUN = text_run(('8',), 0, 'none', [20.0, 20.0, 20.0, 5.0])
SUMS = RUN['by_document'] | {'nats': [20.0, None, 20.0, 5.0]}


@pytest.mark.parametrize(
  ('changes', 'damage'),
  [
    ({'by_document': SUMS}, ''),
    (
      dict.fromkeys(('memory_kind', 'measured_on', 'by_document'), ABSENT),
      '',
    ),  # As an earlier version wrote it.
    ({'memory_kind': ABSENT}, 'no memory_kind'),
    ({'by_document': ABSENT, 'measured_on': ABSENT}, 'no by_document'),
    ({'memory_kind': 3}, 'memory_kind is not a text'),
    ({'measured_on': 'test'}, 'measured_on is not an object'),
    ({'by_document': [SUMS]}, 'by_document is not an object'),
    ({'by_document': SUMS | {'nats': [1.0]}}, 'the lists of by_document differ in length'),
    ({'by_document': SUMS | {'nats': 1.0}}, 'by_document.nats is not a list of numbers'),
    ({'by_document': SUMS | {'nats': ['1', 2, 3, 4]}}, 'by_document.nats is not a list of numbers'),
    ({'by_document': SUMS | {'num_tokens': [None, 2, 3, 4]}}, 'by_document.num_tokens is not a list of num'),
    (
      {'by_document': {name: SUMS[name] for name in SUMS if name != 'nats_beyond_reach'}},
      'by_document.nats_beyond_reach is not a list of numbers',
    ),
  ],
)
def test_what_paired_comparisons_need_is_complete_or_absent(config, tmp_path, changes, damage):
  point = grid(config, [], [BASIS], 1, tmp_path)[0]
  point.workdir.mkdir(parents=True)
  content = {name: value for name, value in (RUN | changes).items() if value is not ABSENT}
  write_json(point.file, content)
  if damage:
    with pytest.raises(UserError, match=re.escape(f'{point.file} is damaged ({damage}')):
      point.figures()
  else:
    assert point.figures() == content
