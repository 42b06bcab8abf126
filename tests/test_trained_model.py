"""Loading a trained model from its work directory."""

import dataclasses
import json
import re
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

from infformer_jax import TrainedModel
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.state import initial_state
from tests import toy
from tests.test_readme import blocks

MODEL = toy.config(toy.MEMORIES['continuous'])
STEPS = (3, 7)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """The work directory of a run with two checkpoints, whose parameters are constants."""
  folder = tmp_path_factory.mktemp('trained') / 'W'
  sizes = {'vocab_size': toy.VOCABULARY, 'batch_size': 2, 'seed': 0}
  _, state = initial_state(MODEL, optax.sgd(0.1), **sizes)
  checkpoints = Checkpoints(folder / 'checkpoints', warn=pytest.fail)
  for step in STEPS:
    params = jax.tree.map(lambda leaf, value=step: leaf * 0 + value, state.params)
    run = {'data_position': step, 'totals': {}, 'best': None}
    checkpoints.save(step, dataclasses.replace(state, params=params), run, best=None)
  checkpoints.wait()
  (folder / 'config.json').write_text(json.dumps({'seed': 0, 'model': dataclasses.asdict(MODEL)}))
  return folder


def values(trained):
  return {float(value) for leaf in jax.tree.leaves(trained.params) for value in np.unique(leaf)}


def test_loading_needs_only_the_work_directory(workdir):
  trained = TrainedModel.load(str(workdir))
  assert (trained.step, values(trained), trained.config) == (7, {7.0}, MODEL)
  assert trained.model().vocabulary.size == toy.VOCABULARY
  assert trained.mesh.devices.size == jax.device_count()
  shapes = [jax.tree.map(np.shape, params) for params in (trained.params, toy.build(MODEL)[1])]
  assert shapes[0] == shapes[1]


def test_the_program_of_the_readme_runs(workdir):
  (program,) = [block for block in blocks('README.md', 'python') if "TrainedModel.load('W')" in block]
  command = [sys.executable, '-c', program]
  done = subprocess.run(command, cwd=workdir.parent, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('7 ')


def test_a_requested_step_is_loaded(workdir):
  trained = TrainedModel.load(workdir, step=3)
  assert (trained.step, values(trained)) == (3, {3.0})
  with pytest.raises(UserError, match='has no checkpoint 5 .available: 3, 7'):
    TrainedModel.load(workdir, step=5)


def test_the_model_gives_the_same_results_inside_and_outside_jit():
  trained, batch = toy.trained(MODEL), toy.batch()
  state = trained.model().init_state(len(batch.tokens_bsl))
  outside = trained.model()(batch, state).hidden_bsld
  inside = jax.jit(lambda params: trained.model(params)(batch, state).hidden_bsld)
  assert toy.error(inside(trained.params), outside) < toy.TOLERANCE
  moved = jax.tree.map(lambda leaf: leaf + 0.1, trained.params)
  assert toy.error(inside(moved), outside) > toy.TOLERANCE


def test_local_parameters_are_equal_on_one_device():
  trained = toy.trained(MODEL)
  local = trained.local()
  assert local.mesh.devices.tolist() == [[[jax.local_devices()[0]]]]
  leaves = jax.tree.leaves(local.params)
  assert {device for leaf in leaves for device in leaf.devices()} == {jax.local_devices()[0]}
  assert toy.error(leaves, jax.tree.leaves(trained.params)) == 0


def test_another_config_is_allowed_if_the_parameters_have_the_same_shapes(workdir):
  longer = dataclasses.replace(MODEL, short_term_length=2 * toy.LENGTH)
  assert TrainedModel.load(workdir, longer).config.short_term_length == 2 * toy.LENGTH
  for other, message in (
    (
      dataclasses.replace(MODEL, d_ff=32),
      r'feed_forward.* is float32\[16\] in the checkpoint, float32\[32\] in the model',
    ),
    (toy.config(), 'lacks parameters that .*memory/w_mu'),
  ):
    with pytest.raises(UserError, match=message):
      TrainedModel.load(workdir, other)


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    (None, 'does not exist; use the work directory of a training run'),
    ('{"model": ', 'not a config in JSON'),
    ('{"model": {"d_modle": 8}}', "unknown key 'model.d_modle'; did you mean 'd_model'?"),
    (json.dumps({'model': dataclasses.asdict(MODEL)}), 'has no checkpoint yet'),
  ],
)
def test_missing_or_damaged_files_are_errors_with_their_names(tmp_path, config, message):
  if config is not None:
    (tmp_path / 'config.json').write_text(config)
  with pytest.raises(ConfigError if 'checkpoint' not in message else UserError, match=re.escape(message)):
    TrainedModel.load(tmp_path)


def test_checkpoints_of_another_version_are_rejected_with_the_name_of_an_array(workdir, tmp_path):
  checkpoints = Checkpoints(tmp_path / 'checkpoints', warn=pytest.fail)
  run = {'data_position': 1, 'totals': {}, 'best': None}
  checkpoints.save(1, {'params': {'embedding': np.zeros((5, 2), np.float32)}}, run, best=None)
  checkpoints.wait()
  (tmp_path / 'config.json').write_text((workdir / 'config.json').read_text())
  with pytest.raises(UserError, match='has no array params/vocabulary/.*another version'):
    TrainedModel.load(tmp_path)
