"""Work directories in an emulated bucket equal those on a disk, in all that the programs do with them."""

import dataclasses
import io
import json
import threading

import chex
import pytest
from etils import epath

from infformer_jax import TrainedModel, job, paths
from infformer_jax.ablation import measure, summary
from infformer_jax.ablation.grid import Axis, grid
from infformer_jax.console import Console
from infformer_jax.errors import UserError
from infformer_jax.experiment import MAY_CHANGE_IN_EVALUATION, load_experiment, resolve_experiment
from infformer_jax.plotting import workdir as plotting
from infformer_jax.train.hooks import Save
from tests.ablation.sweep import write_config
from tests.program import arrays, metrics

STEPS = 3
QUICK = [('train.log_every', '1'), ('train.evaluate_every', '2'), ('train.checkpoint_every', '2')]


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
  return write_config(tmp_path_factory.mktemp('config'))


def train(config, workdir, *changes) -> str:
  """Trains in the work directory; returns what is printed."""
  stream = io.StringIO()
  job.train(load_experiment(config, [*QUICK, *changes]), workdir, Console(stream))
  return stream.getvalue()


@pytest.fixture(scope='module')
def on_disk(config, tmp_path_factory) -> epath.Path:
  workdir = epath.Path(tmp_path_factory.mktemp('disk') / 'W')
  train(config, workdir)
  return workdir


@pytest.fixture(scope='module')
def in_bucket(config, bucket) -> epath.Path:
  workdir = paths.parse('gs://bucket/work', '--workdir')
  assert train(config, workdir).splitlines()[-1].startswith('everything is in gs://bucket/work: ')
  return workdir


@pytest.fixture
def no_plots(monkeypatch) -> None:
  """Drawing takes as long as the rest of a run."""
  for name in ('_plot', '_plot_training'):
    monkeypatch.setattr(job, name, lambda *args: None)


def names(workdir: epath.Path) -> set[str]:
  """The files, except for those of Orbax and TensorBoard, whose names vary, and for the lock."""
  found, folders = set(), [workdir]
  while folders:
    for path in folders.pop().iterdir():
      if path.name not in ('checkpoints', 'tensorboard', 'lock'):
        (folders.append if path.is_dir() else found.add)(path)
  return {str(path.relative_to(workdir)) for path in found}


def assert_same(workdir: epath.Path, other: epath.Path) -> None:
  chex.assert_trees_all_equal(arrays(workdir, STEPS), arrays(other, STEPS))
  assert metrics(workdir) == metrics(other)
  for name in ('config', 'results', 'data'):
    assert (workdir / f'{name}.json').read_bytes() == (other / f'{name}.json').read_bytes()


def test_a_run_in_a_bucket_has_the_files_and_results_of_one_on_a_disk(in_bucket, on_disk):
  assert_same(in_bucket, on_disk)
  assert names(in_bucket) == names(on_disk) >= {'plots/loss.png', 'inspection/arrays.npz'}
  assert (in_bucket / 'plots' / 'loss.png').read_bytes() == (on_disk / 'plots' / 'loss.png').read_bytes()
  assert len(list((in_bucket / 'tensorboard').iterdir())) == 1
  assert not (in_bucket / 'lock').exists()


class Killed(BaseException):
  """Stands for SIGKILL: what is in memory is lost."""


def test_a_run_that_ends_between_two_saves_resumes_without_a_step_twice(
  config, bucket, on_disk, tmp_path, monkeypatch, no_plots
):
  workdir = paths.parse(f'gs://bucket{tmp_path}', '--workdir')

  def save_once(self, run, _save=Save._save):
    if run.step > 2:
      run.metrics.flush()
      raise Killed
    _save(self, run)

  with monkeypatch.context() as patch:
    patch.setattr(Save, '_save', save_once)
    with pytest.raises(Killed):
      train(config, workdir)
  assert [line['step'] for line in metrics(workdir)][-1] == 3
  assert 'resuming from checkpoint 2\n' in train(config, workdir)
  assert_same(workdir, on_disk)


@pytest.mark.slow
def test_a_run_continues_while_requests_fail_and_while_the_bucket_is_away(
  config, bucket, on_disk, tmp_path, no_plots
):
  workdir = paths.parse(f'gs://bucket{tmp_path}', '--workdir')
  bucket.fails_every = 10
  timers = []

  def go_away():
    """At the first write of a checkpoint, for two seconds."""
    if not timers and any('/checkpoints/2/' in name for name in bucket.names(str(tmp_path)[1:])):
      timers.append(threading.Timer(2, bucket.start))
      threading.Thread(target=lambda: (bucket.stop(), timers[0].start())).start()

  bucket.before_write = go_away
  try:
    train(config, workdir)
  finally:
    bucket.fails_every, bucket.before_write = 0, lambda: None
  timers[0].join()
  assert_same(workdir, on_disk)


def test_the_model_is_loaded_evaluated_and_continued_from_a_bucket(
  config, in_bucket, on_disk, tmp_path, no_plots
):
  assert TrainedModel.load(str(in_bucket)).step == STEPS
  experiment = resolve_experiment(None, [], in_bucket, may_change=MAY_CHANGE_IN_EVALUATION)
  job.evaluate(experiment, in_bucket, Console(io.StringIO()), name='again')
  again, before = (
    json.loads((in_bucket / name).read_text()) for name in ('results_again.json', 'results.json')
  )
  assert again['memory'] == before['memory']
  workdirs = {source: tmp_path / source.name for source in (in_bucket, on_disk)}
  for source, workdir in workdirs.items():
    printed = train(config, workdir, ('init_from', str(source)), ('train.num_steps', '1'))
    assert f'starting from the parameters of {source} after step {STEPS}' in printed
  continued = [arrays(workdir, 1) for workdir in workdirs.values()]
  chex.assert_trees_all_equal(*continued)
  with pytest.raises(UserError, match='init_from = gs://bucket/nowhere: .* does not exist; use the work'):
    train(config, tmp_path / 'none', ('init_from', 'gs://bucket/nowhere'))


def test_plots_are_drawn_again_in_a_bucket(in_bucket):
  loss = in_bucket / 'plots' / 'loss.png'
  before = loss.read_bytes()
  loss.unlink()
  assert plotting.draw(in_bucket)
  assert loss.read_bytes() == before
  mine = plotting.load_inspection(in_bucket)
  worse = dataclasses.replace(mine.record, nll_t=mine.record.nll_t + 1)
  plotting.draw_against(in_bucket, mine, in_bucket, dataclasses.replace(mine, record=worse))
  assert {'profit_against_work.png', 'profit_against_work.html'} <= {
    path.name for path in (in_bucket / 'plots').iterdir()
  }


@pytest.mark.slow
def test_a_point_of_a_sweep_is_measured_in_a_bucket_and_resumed(config, bucket, tmp_path):
  workdir = paths.parse(f'gs://bucket{tmp_path}', '--workdir')
  axes = [Axis(key='train.num_steps', values=('1', '2'))]
  points = grid(config, [], axes, 1, workdir)
  measure.run(points[0], points, Console(io.StringIO()))
  assert summary.missing(points) == [points[1].workdir.name]
  sweep = summary.keep(axes, points, workdir, lambda sweep: None)
  assert [figures['step'] for figures in sweep['points']] == [1]
  assert json.loads((workdir / 'ablation.json').read_text()) == json.loads(json.dumps(sweep))
  requests = bucket.requests
  measure.run(grid(config, [], axes, 1, workdir)[0], points, Console(io.StringIO()))  # It is finished.
  assert bucket.requests - requests < 12
