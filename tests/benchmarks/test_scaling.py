"""What the compiled programs of training steps say about memory and communication."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from infformer_jax.errors import ConfigError
from infformer_jax.train.mesh import MeshConfig
from tests import hlo
from tests.benchmarks import scaling

ROOT = pathlib.Path(__file__).parents[2]
GIB = 2**30

# A gather in steps that begin before the loop and end after it, the same gather of another layer, a sum in
# the loop, and a sum after it.
PROGRAM = """
HloModule jit_step

%async_collective_fusion.1 (p: bf16[8,4]) -> bf16[8,8] {
  ROOT %all-gather.1 = bf16[8,8]{1,0} all-gather(%p), channel_id=1, frontend_attributes={chain_id="0"}, metadata={op_name="jit(step)/weights"}
}

%async_collective_fusion.2 (p: bf16[8,4]) -> bf16[8,8] {
  ROOT %all-gather.2 = bf16[8,8]{1,0} all-gather(%p), channel_id=1, frontend_attributes={chain_id="0"}, metadata={op_name="jit(step)/weights"}
}

%body (p: f32[4]) -> f32[4] {
  %a = f32[4]{0} all-reduce(%p), channel_id=2, metadata={op_name="jit(step)/memory/while/body/sum"}
  ROOT %f = bf16[8,8]{1,0} fusion(%p), kind=kCustom, calls=%async_collective_fusion.2
}

%quiet (p: f32[4]) -> f32[4] {
  ROOT %f = bf16[8,8]{1,0} fusion(%p), kind=kCustom, calls=%async_collective_fusion.2
}

%async_collective_fusion.3 (p: bf16[8,4]) -> bf16[8,8] {
  ROOT %all-gather.3 = bf16[8,8]{1,0} all-gather(%p), channel_id=1, frontend_attributes={chain_id="1"}, metadata={op_name="jit(step)/weights"}
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %g = bf16[8,8]{1,0} fusion(%p), kind=kCustom, calls=%async_collective_fusion.3
  %f = bf16[8,8]{1,0} fusion(%p), kind=kCustom, calls=%async_collective_fusion.1
  %w = f32[4]{0} while(%p), condition=%c, body=%body, metadata={op_name="jit(step)/memory/while"}
  %v = f32[4]{0} while(%w), condition=%c, body=%quiet, metadata={op_name="jit(step)/attention/while"}
  ROOT %b = (f32[4]{0}, pred[2,3]{1,0}) all-reduce(%v, %m), channel_id=3, metadata={op_name="jit(step)/loss"}
}
"""  # fmt: skip # noqa: E501


def test_a_collective_in_steps_counts_once_and_belongs_to_no_loop_that_it_overlaps():
  assert hlo.collectives(PROGRAM) == {'all-gather': 2, 'all-reduce': 2}
  assert hlo.results(PROGRAM) == {'all-gather': [2 * 64] * 2, 'all-reduce': [4 * 4, 4 * 4 + 6]}
  assert dict(hlo.loops(PROGRAM)) == {
    'jit(step)/memory/while': ('all-reduce of jit(step)/memory/while/body/sum',),
    'jit(step)/attention/while': (),
  }


def test_a_mesh_is_read_from_the_command_line():
  assert scaling.mesh_of('data=2,tensor=-1') == MeshConfig(data=2, tensor=-1)
  with pytest.raises(ConfigError, match="--mesh=fdsp=2: unknown key 'fdsp'"):
    scaling.mesh_of('fdsp=2')


@pytest.mark.parametrize('topology', ['cpu:', 'cpu:0', 'cpu:two', 'cpu:99999'])
def test_a_number_of_devices_is_required(topology):
  with pytest.raises(SystemExit, match='must be cpu:N'):
    scaling.devices_of(topology)


def measured(tmp_path, *arguments):
  """The figures of the command, in a process of its own."""
  file = tmp_path / 'figures.json'
  subprocess.run(
    [sys.executable, '-m', 'tests.benchmarks.scaling', *arguments, '--json', str(file)],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    check=True,
  )
  return json.loads(file.read_text())


@pytest.mark.slow
def test_fsdp_and_tensor_divide_what_a_device_holds(tmp_path):
  config = '--config=configs/pg19.py:size=tiny', '--config.model.num_layers=1'
  found = measured(tmp_path, *config, '--topology=cpu:4', '--mesh=fsdp=2,tensor=2')
  whole = 4 * found['num_parameters']
  # W_q, W_k, ... are split four ways, the embeddings over fsdp alone, and norms not at all.
  assert whole / 4 < found['bytes_of_parameters'] < whole / 1.9
  assert found['bytes_of_optimizer'] == pytest.approx(2 * found['bytes_of_parameters'], rel=1e-3)
  assert found['collectives'].keys() >= {'all-gather', 'all-reduce'}
  assert [loop for loop in found['communicating_loops'] if 'memory' in loop] == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_default_size_fits_eight_gpus(tmp_path):
  # The compiler of CPUs stores more than that of GPUs.
  found = measured(tmp_path, '--config=configs/pg19.py:size=base', '--topology=cpu:8', '--mesh=data=1,fsdp=8')
  assert found['bytes'] < 80e9
  assert [loop for loop in found['communicating_loops'] if 'memory' in loop] == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='libtpu is not installed')
@pytest.mark.parametrize(
  ('size', 'topology', 'mesh'), [('base', 'v5e:4x4', 'fsdp=16'), ('large', 'v5e:8x8', 'fsdp=64')]
)
def test_large_configs_fit_tpus_of_16_gib(tmp_path, size, topology, mesh):
  # The compiler refuses a program that does not fit.
  found = measured(
    tmp_path, f'--config=configs/pg19.py:size={size}', f'--topology={topology}', f'--mesh=data=1,{mesh}'
  )
  assert found['bytes'] < 16 * GIB
  assert [loop for loop in found['communicating_loops'] if 'memory' in loop] == []
