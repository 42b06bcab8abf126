"""The sharding of every array, and the lanes that each process feeds."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from infformer_jax.train import sharding
from infformer_jax.train.mesh import make_mesh
from infformer_jax.train.optimizer import OptimizerConfig, make_optimizer
from infformer_jax.train.state import initial_state
from tests import toy

ROOT = pathlib.Path(__file__).parents[2]
LANES = ('data', 'fsdp')


def specs(model, mesh):
  """The spec of every array of the state, by its name."""
  optimizer = make_optimizer(OptimizerConfig(), 10)
  state = jax.eval_shape(lambda: initial_state(model, optimizer, vocab_size=13, batch_size=8, seed=0))[1]
  leaves = jax.tree.leaves_with_path(sharding.shardings(state, mesh))
  return {sharding.name(path): placed.spec for path, placed in leaves}


def mesh_of(data, fsdp, tensor):
  sizes = {'data': data, 'fsdp': fsdp, 'tensor': tensor}
  return AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * 3)


@pytest.mark.parametrize('memory', ['stacked', 'neighbours', 'dilated'])
def test_with_data_alone_only_lanes_are_split(memory):
  for name, spec in specs(toy.config(toy.MEMORIES[memory]), mesh_of(8, 1, 1)).items():
    assert spec == (PartitionSpec('data') if name.startswith('memory/') else PartitionSpec()), name


def test_the_table_splits_heads_hidden_units_and_the_widest_other_dimension():
  found = specs(toy.config(toy.MEMORIES['stacked_neighbours'], d_ff=32), mesh_of(2, 2, 2))
  expected = {
    'attention/w_q/kernel': ('fsdp', 'tensor'),
    'attention/w_o/kernel': ('tensor', 'fsdp'),
    'feed_forward/w_in/kernel': ('fsdp', 'tensor'),
    'feed_forward/w_in/bias': ('tensor',),
    'feed_forward/w_out/kernel': ('tensor', 'fsdp'),
    'feed_forward/w_out/bias': (),
    'attention_norm/scale': (),
    'memory/first/scale_h': ('tensor',),
    'memory/second/w_k_dhk': ('fsdp', 'tensor'),
    'memory/second/w_o_hkd': ('tensor', None, 'fsdp'),
    'memory/second/w_mu_n': (),
  }
  for name, spec in expected.items():
    assert found[f'params/blocks/1/{name}'] == PartitionSpec(*spec), name
    moments = [each for key, each in found.items() if key.endswith(f'/mu/blocks/1/{name}')]
    assert moments == [PartitionSpec(*spec)], name
  assert found['params/u_hk'] == PartitionSpec('tensor', 'fsdp')
  assert found['params/vocabulary/embedding/embedding'] == PartitionSpec(None, 'fsdp')  # 13 rows.
  assert found['memory/blocks/1/memory/first/k_bmhk'] == PartitionSpec(LANES, None, 'tensor')
  assert found['memory/blocks/1/memory/second/b_bnd'] == PartitionSpec(LANES)
  assert found['step'] == found['key'] == PartitionSpec()


def test_a_parameter_that_no_axis_divides_is_on_all_devices():
  found = specs(toy.config(d_model=12, d_ff=24, head_dim=5), mesh_of(1, 5, 1))
  assert found['params/blocks/0/feed_forward/w_in/kernel'] == PartitionSpec()
  assert found['params/u_hk'] == PartitionSpec(None, 'fsdp')


def test_an_array_without_a_sharding_rule_is_an_error():
  with pytest.raises(ValueError, match='no rule for surprise'):
    sharding.shardings({'surprise': jnp.zeros(3)}, make_mesh())


def test_a_batch_with_other_lanes_than_those_of_the_process_is_an_error():
  batch = toy.batch()
  placed = sharding.put_batch(batch, make_mesh(), 4)
  np.testing.assert_array_equal(placed.tokens_bsl, batch.tokens_bsl)
  with pytest.raises(ValueError, match=r'a batch of 4 lanes, but this process feeds 8: range\(0, 8\)'):
    sharding.put_batch(batch, make_mesh(), 8)


IN_TWO_PROCESSES = """
import sys
import jax, numpy as np
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from infformer_jax.train import sharding
from infformer_jax.train.mesh import MeshConfig, make_mesh
process, numbers = jax.process_index(), np.arange(32).reshape(16, 2)
total = jax.jit(lambda a: (a * a).sum(), out_shardings=None)
for sizes, first, second in (
  ((-1, 1, 1), range(0, 8), range(8, 16)),
  ((2, 2, 2), range(0, 8), range(8, 16)),
  ((1, 4, 2), range(0, 8), range(8, 16)),
  ((1, 1, 8), range(16), range(16)),
):
  mesh = make_mesh(MeshConfig(data=sizes[0], fsdp=sizes[1], tensor=sizes[2]))
  lanes = sharding.local_lanes(mesh, 16)
  assert lanes == (first, second)[process], (sizes, lanes)
  placed = sharding.put_batch(numbers[lanes.start : lanes.stop], mesh, 16)
  assert placed.shape == (16, 2)
  for shard in placed.addressable_shards:
    np.testing.assert_array_equal(shard.data, numbers[shard.index])
  assert total(placed) == (numbers**2).sum()
"""


@pytest.mark.slow
def test_processes_feed_the_lanes_of_their_devices_and_share_those_that_tensor_splits():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': '--xla_force_host_platform_device_count=4',
    'NPROC': toy.THREADS,
  }
  processes = [
    subprocess.Popen(
      [sys.executable, '-c', IN_TWO_PROCESSES, address, str(index)],
      cwd=ROOT,
      env=environment,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(2)
  ]
  errors = [process.communicate()[1] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], errors
