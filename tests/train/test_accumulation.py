"""Groups of lanes, one after the other, give the losses, gradients and memories of all lanes at once."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from infformer_jax.errors import ConfigError
from infformer_jax.memory.registry import CONFIGS
from infformer_jax.nn import transformer
from infformer_jax.train.accumulation import Lanes, gradients, require_whole_groups
from tests import toy

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import functools, json, sys
from tests import hlo
from tests.train import on_meshes

one, _ = on_meshes.losses('compressive', on_meshes.ONE, steps=6)
on_meshes.make_train_step = functools.partial(on_meshes.make_train_step, accumulate_steps=2)
for sizes in json.loads(sys.argv[1]):
  groups, text = on_meshes.losses('compressive', sizes, steps=6)
  print(json.dumps({'one': one, 'groups': groups, 'collectives': list(hlo.collectives(text))}))
"""
TOLERANCE = 1e-5
"""Between the losses of one device and of several devices, which differ in the order of sums."""

KINDS = (*CONFIGS, 'random', 'most_used')


def computed(model, groups: int):
  """The results of `gradients` for a chunk of four lanes, and the text of its program."""
  graphdef, params = toy.build(model)
  batch = jax.tree.map(jnp.asarray, toy.batch())
  memory = transformer.merge(graphdef, params).init_state(4)
  weights = {'loss': 1.0, **transformer.merge(graphdef, params).aux_weights()}

  def forward(params, lanes: Lanes):
    merged = transformer.merge(graphdef, params)
    output = merged(lanes.batch, lanes.memory, key=jax.random.key(1), lane_b=lanes.index_b)
    nll_bsl = merged.vocabulary.token_losses(output.hidden_bsld, lanes.batch.targets_bsl)
    ok_bsl = lanes.batch.ok_bsl
    return {'loss': (jnp.where(ok_bsl, nll_bsl, 0).sum(), ok_bsl.sum()), **output.aux}, output.state

  run = functools.partial(gradients, forward, weights=weights, groups=groups)
  program = jax.jit(run).lower(params, batch, memory).compile()
  return program(params, batch, memory), program.as_text()


@pytest.mark.parametrize(
  'kind',
  [pytest.param(kind, marks=[] if kind == 'compressive' else [pytest.mark.slow]) for kind in KINDS],
)
def test_groups_of_lanes_equal_all_lanes_at_once(kind):
  """With dropout, documents of different lengths, and lanes that idle: the counts of the groups differ."""
  model = toy.config(toy.MEMORIES[kind], dropout=0.1)
  once, program = computed(model, 1)
  groups, grouped_program = computed(model, 2)
  assert toy.error(groups, once) < toy.TOLERANCE
  # The counts of all groups come before the gradients, without another forward pass.
  assert grouped_program.count(' dot(') <= program.count(' dot(')


@pytest.mark.slow
def test_groups_on_a_mesh_have_the_losses_of_one_device_and_move_no_lane():
  """8 lanes in two groups; where only lanes are split, the only communication is sums."""
  meshes = [(4, 1, 1), (2, 2, 1), (2, 1, 2)]
  flags = '--xla_force_host_platform_device_count=4'
  environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags, 'NPROC': toy.THREADS}
  command = [sys.executable, '-c', PROGRAM, json.dumps(meshes)]
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  results = [json.loads(line) for line in done.stdout.splitlines()]
  assert len(results) == len(meshes)
  for result in results:
    assert result['groups'] == pytest.approx(result['one'], rel=0, abs=TOLERANCE)
  assert set(results[0]['collectives']) == {'all-reduce'}


def test_groups_that_do_not_divide_the_lanes_of_a_device_are_a_config_error():
  require_whole_groups(24, 3, 4)
  line = (
    r'train\.accumulate_steps = 4 must divide the 6 lanes of each device '
    r'\(train\.batch_size = 24 over 4 devices\); use one of 1, 2, 3, 6$'
  )
  with pytest.raises(ConfigError, match=line):
    require_whole_groups(24, 4, 4)
