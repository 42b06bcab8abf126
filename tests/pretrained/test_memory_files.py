"""The memory beside a pretrained model."""

import json

import numpy as np
import pytest

from infformer_jax.errors import UserError
from infformer_jax.pretrained import memory_files
from tests import toy

MODEL = toy.config(toy.MEMORIES['stacked'], window='sliding')


def test_keys_and_parameters_are_read_as_they_were_written(tmp_path):
  assert memory_files.read_keys(tmp_path) == {}
  assert memory_files.open_tensors(tmp_path) is None
  params = {f'blocks/{i}/memory/gate_h': np.arange(3, dtype=np.float32) + i for i in range(2)}
  memory_files.write(tmp_path, MODEL, params)
  assert memory_files.read_keys(tmp_path) == {key: getattr(MODEL, key) for key in memory_files.KEYS}
  files = memory_files.open_tensors(tmp_path)
  for name, array in params.items():
    np.testing.assert_array_equal(files.read(name), array, strict=True)
  (tmp_path / memory_files.TENSORS).unlink()  # A new memory would be drawn instead, without a word.
  with pytest.raises(UserError, match=r'has memory\.json but no memory\.safetensors; copy that too'):
    memory_files.open_tensors(tmp_path)


def test_a_memory_that_is_not_registered_is_refused_with_the_file(tmp_path):
  memory_files.write(tmp_path, MODEL, {})
  file = tmp_path / memory_files.CONFIG
  values = json.loads(file.read_text())
  file.write_text(json.dumps(values | {'memory': {'kind': 'mine'}}))
  with pytest.raises(UserError, match=r"memory\.json: memory\.kind = 'mine' must be one of"):
    memory_files.read_keys(tmp_path)
  file.write_text(json.dumps({'memory': values['memory']}))
  with pytest.raises(UserError, match=r'memory\.json is damaged \(no segment_length\)'):
    memory_files.read_keys(tmp_path)
