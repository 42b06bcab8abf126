"""Meshes: their sizes, and what does not fit on them is refused with the numbers."""

import types

import jax
import pytest
from jax.sharding import AbstractMesh

from infformer_jax import job
from infformer_jax.errors import ConfigError
from infformer_jax.experiment import load_experiment
from infformer_jax.train.mesh import MeshConfig, lane_shards, make_mesh, require_fit, require_lanes
from tests import toy


def devices(count, processes=1):
  """Descriptions of devices, in another order than that of their processes."""
  each = count // processes
  made = [types.SimpleNamespace(id=i, process_index=i // each) for i in range(count)]
  return made[::-1]


def abstract(data, fsdp, tensor):
  return AbstractMesh((data, fsdp, tensor), ('data', 'fsdp', 'tensor'))


def test_by_default_all_devices_split_the_lanes():
  mesh = make_mesh()
  assert dict(mesh.shape) == {'data': jax.device_count(), 'fsdp': 1, 'tensor': 1}
  assert mesh.axis_types == (jax.sharding.AxisType.Auto,) * 3


@pytest.mark.parametrize(
  ('sizes', 'message'),
  [
    ({'fsdp': 0}, 'fsdp = 0 must be at least 1, or -1 '),
    ({'tensor': -1}, 'data, tensor = -1: only one '),
  ],
)
def test_a_size_is_positive_or_once_the_rest(sizes, message):
  with pytest.raises(ConfigError, match=message):
    MeshConfig(**sizes)


@pytest.mark.parametrize(
  ('sizes', 'message'),
  [
    ({'fsdp': 3}, r'fsdp 3 × tensor 1 = 3 must divide the number of devices, 8; '),
    ({'data': 2, 'fsdp': 2}, r'data 2 × fsdp 2 × tensor 1 = 4 must be the number of devices, 8; '),
    ({'data': 4, 'fsdp': 2, 'tensor': 2}, r'= 16 must be the number of devices, 8'),
  ],
)
def test_sizes_that_do_not_make_up_the_devices_are_refused(sizes, message):
  with pytest.raises(ConfigError, match=message):
    make_mesh(MeshConfig(**sizes), devices(8))


def test_heads_and_hidden_units_that_tensor_does_not_divide_are_refused():
  require_fit(abstract(2, 2, 4), toy.config())
  message = (
    r'tensor = 4 must divide model\.num_heads = 4, model\.num_kv_heads = 2, model\.d_ff = 16; .* of 2$'
  )
  with pytest.raises(ConfigError, match=message):
    require_fit(abstract(2, 1, 4), toy.config(num_kv_heads=2))
  with pytest.raises(ConfigError, match=r'tensor = 2 must divide .* model\.d_ff = 15; use a divisor of 1$'):
    require_fit(abstract(2, 1, 2), toy.config(d_ff=15))


def test_only_the_axes_that_split_lanes_must_divide_them():
  mesh = abstract(2, 2, 2)
  assert lane_shards(mesh) == 4
  require_lanes(mesh, 12, 'train.batch_size')  # Not a multiple of the 8 devices.
  message = r'train\.batch_size = 6 must be divisible by 4, .* data 2 × fsdp 2 of 8 devices\); use 4 or 8$'
  with pytest.raises(ConfigError, match=message):
    require_lanes(mesh, 6, 'train.batch_size')
  with pytest.raises(ConfigError, match=r'evaluation\.batch_size = 3 .*; use 4$'):
    require_lanes(mesh, 3, 'evaluation.batch_size')


def test_an_evaluation_on_other_devices_depends_on_its_own_lanes_only(monkeypatch):
  monkeypatch.setattr(job, 'make_mesh', lambda config: AbstractMesh((3, 1, 1), ('data', 'fsdp', 'tensor')))
  experiment = load_experiment('configs/quickstart.py', [('evaluation.batch_size', '3')])
  assert job.fitting_mesh(experiment, trains=False).size == 3
  with pytest.raises(ConfigError, match=r'train\.batch_size = 16 must be divisible by 3'):
    job.fitting_mesh(experiment, trains=True)
