"""Losses do not depend on the mesh, and no scan of a memory communicates. Programs with 8 devices."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from infformer_jax.memory.registry import CONFIGS
from tests import toy

ROOT = pathlib.Path(__file__).parents[2]
TOLERANCE = 1e-5
"""Between the losses of one device and of several devices, which differ in the order of sums."""

PROGRAM = """
import json, sys
from infformer_jax.core import attention, gaussian_context
from tests import hlo
from tests.train import on_meshes

memory, meshes, loops_over_heads, changes = json.loads(sys.argv[1])
if loops_over_heads:  # As in larger models.
  attention.MIN_SCORES = gaussian_context._FEW = 0
one, _ = on_meshes.losses(memory, on_meshes.ONE, **changes)
for sizes in meshes:
  several, text = on_meshes.losses(memory, sizes, **changes)
  loops = list(hlo.loops(text))
  print(json.dumps({
    'mesh': sizes, 'one': one, 'several': several, 'collectives': hlo.collectives(text),
    'of_memory': sum('/memory' in loop.name for loop in loops),
    'communicating': [loop.name for loop in loops if loop.collectives],
  }))
"""
MESHES = [(2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 2)]
VARIANTS = [
  'even',
  'random',
  'edges',
  'gibbs',
  'affine_free',
  'equal',
  'log',
  'dilated',
  'stacked_neighbours',
]


def run(memory, meshes, *, loops_over_heads=True, **changes):
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
    'NPROC': toy.THREADS,
  }
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, json.dumps([memory, meshes, loops_over_heads, changes])],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  results = [json.loads(line) for line in done.stdout.splitlines()]
  assert [tuple(result['mesh']) for result in results] == [*map(tuple, meshes)]
  return results


def check(result, *, has_loops=True):
  assert len(set(result['one'])) == len(result['one']) == 20
  assert result['several'] == pytest.approx(result['one'], rel=0, abs=TOLERANCE), result['mesh']
  assert result['collectives']
  assert not has_loops or result['of_memory'] > 0
  assert [name for name in result['communicating'] if '/memory' in name] == [], result['mesh']


def test_losses_on_a_mesh_of_all_axes_are_those_of_one_device_and_no_loop_communicates():
  (result,) = run('continuous', [(2, 2, 2)], loops_over_heads=False, num_layers=1, num_kv_heads=2)
  check(result)
  assert result['communicating'] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('memory', CONFIGS)
def test_every_kind_of_memory_has_the_same_losses_on_every_axis(memory):
  for result in run(memory, MESHES):
    check(result, has_loops=memory != 'none')


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('memory', VARIANTS)
def test_variants_of_memories_have_the_same_losses(memory):
  (result,) = run(memory, [(2, 2, 2)], remat=True)
  check(result)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_scan_of_most_used_communicates_because_it_contains_the_attention_of_the_layer():
  fsdp, both = run('most_used', [(1, 2, 1), (2, 2, 2)])
  for result in (fsdp, both):
    assert result['several'] == pytest.approx(result['one'], rel=0, abs=TOLERANCE)
  assert both['communicating']
