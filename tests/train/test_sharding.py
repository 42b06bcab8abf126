"""Losses do not depend on the number of devices, and any number of devices can restore a checkpoint."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from infformer_jax.errors import ConfigError
from infformer_jax.train import sharding
from infformer_jax.train.optimizer import OptimizerConfig, make_optimizer
from infformer_jax.train.state import initial_state
from tests import toy

ROOT = pathlib.Path(__file__).parents[2]
TOLERANCE = 1e-5
"""Between the losses of one device and of several devices, which differ in the order of sums."""

PROGRAM = """
import contextlib, pathlib, sys
import jax
import jax.numpy as jnp
from infformer_jax.core import nearest_neighbours
from infformer_jax.data.base import StoredSplit
from infformer_jax.data.lanes import train_batches
from infformer_jax.train import sharding
from infformer_jax.console import Console
from infformer_jax.train.hooks import Every
from infformer_jax.train.loop import TrainConfig, train
from infformer_jax.train.optimizer import OptimizerConfig
from infformer_jax.train.exits import Terminated
from tests import toy

devices, steps, workdir, kind = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4]
assert jax.device_count() == devices
sizes = enumerate((50, 33, 9, 71, 20))
split = StoredSplit.from_tokens([[(7 * i + j * j) % 12 + 1 for j in range(size)] for i, size in sizes])
config = TrainConfig(
  num_steps=6, batch_size=8, segments_per_chunk=3, log_every=1,
  optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2),
)

def batches(start):
  shape = dict(num_lanes=8, lanes=sharding.local_lanes(8), segment_length=toy.LENGTH, segments_per_chunk=3)
  return train_batches(split, 0, **shape, seed=0, start=start)

def stop(run):
  lanes = {leaf.sharding.shard_shape(leaf.shape)[0] for leaf in jax.tree.leaves(run.state.memory)}
  assert lanes == {8 // devices}, lanes
  run.stopping = run.step == steps

with contextlib.suppress(Terminated):
  train(
    config, toy.config(toy.small(kind), dropout=0.1), vocab_size=toy.VOCABULARY, seed=0,
    batches=batches, workdir=workdir, hooks=[Every(1, stop)], measured_on={},
    console=Console(),
  )

mesh = sharding.make_mesh()
lanes = jax.NamedSharding(mesh, jax.P('data'))
place = lambda *shape: jax.device_put(jnp.ones((8, *shape)), lanes)
search = jax.jit(nearest_neighbours.search, static_argnums=3)
searched = search.lower(place(4, 2, 8), place(16, 2, 8), place(16) > 0, 3).compile()
assert 'all-gather' not in searched.as_text()
"""


def train_on(devices: int, steps: int, workdir: pathlib.Path, kind: str = 'continuous') -> dict[int, float]:
  """Trains a model up to a step in a separate process; returns the loss of every step."""
  workdir.mkdir(exist_ok=True)
  flags = f'--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0'
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': str(workdir.parent / 'compiled'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'XLA_FLAGS': flags,
  }
  command = [sys.executable, '-c', PROGRAM, str(devices), str(steps), str(workdir), kind]
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  assert 'damaged' not in done.stdout
  lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  return {line['step']: line['loss_nats_per_token'] for line in lines}


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_eight_devices_and_one_give_equal_losses_and_resume_each_others_checkpoints(tmp_path):
  one = train_on(1, 6, tmp_path / 'one')
  assert len(set(one.values())) == 6
  for devices, steps in ((8, 2), (1, 4), (8, 6)):
    mixed = train_on(devices, steps, tmp_path / 'mixed')
  assert mixed == pytest.approx(one, rel=0, abs=TOLERANCE)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_sharded_neighbours_give_the_losses_of_one_device(tmp_path):
  """The ring buffers are sharded, and a search does not gather them (see the end of PROGRAM)."""
  one, eight = (train_on(devices, 4, tmp_path / str(devices), 'neighbours') for devices in (1, 8))
  assert len(set(one.values())) == 4
  assert eight == pytest.approx(one, rel=0, abs=TOLERANCE)


def test_every_array_of_the_state_has_a_sharding_rule_and_only_lanes_are_sharded():
  optimizer = make_optimizer(OptimizerConfig(), 10)
  model = toy.config(toy.MEMORIES['stacked'])
  state = jax.eval_shape(lambda: initial_state(model, optimizer, vocab_size=13, batch_size=8, seed=0))[1]
  mesh = sharding.make_mesh()
  for path, placed in jax.tree.leaves_with_path(sharding.shardings(state, mesh)):
    split = sharding.name(path).startswith('memory/')
    assert placed.spec == (PartitionSpec('data') if split else PartitionSpec()), sharding.name(path)


def test_an_array_without_a_sharding_rule_is_an_error():
  with pytest.raises(ValueError, match='no rule for surprise'):
    sharding.shardings({'surprise': jnp.zeros(3)}, sharding.make_mesh())


def test_a_number_of_lanes_that_the_devices_do_not_divide_is_a_config_error(monkeypatch):
  monkeypatch.setattr(jax, 'device_count', lambda: 8)
  assert sharding.local_lanes(16) == range(16)
  with pytest.raises(ConfigError, match=r'train\.batch_size = 12 .* 8 devices; use 8 or 16'):
    sharding.local_lanes(12)
  with pytest.raises(ConfigError, match=r'evaluation\.batch_size = 3 .*; use 8$'):
    sharding.local_lanes(3, key='evaluation.batch_size')


def test_the_lanes_of_all_processes_form_the_whole_batch(monkeypatch):
  monkeypatch.setattr(jax, 'device_count', lambda: 8)
  monkeypatch.setattr(jax, 'process_count', lambda: 4)
  lanes = []
  for index in range(4):
    monkeypatch.setattr(jax, 'process_index', lambda index=index: index)
    lanes += sharding.local_lanes(16)
  assert lanes == list(range(16))
