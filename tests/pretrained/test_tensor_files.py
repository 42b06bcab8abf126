"""Safetensors files: one or several, of all floating-point dtypes, damaged ones, and pickles."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from infformer_jax.errors import UserError
from infformer_jax.pretrained import tensor_files
from tests.pretrained import golden

ARRAYS = {
  'a': np.arange(6, dtype=np.float32).reshape(2, 3),
  'b': np.array([0.5, 1.5], jnp.bfloat16),
  'c': np.array(2.0, np.float16),
  'd': np.zeros((3, 0), np.float64),
}


def test_files_are_read_by_the_library_and_the_other_way_round(tmp_path):
  """A transposed array is written as it looks, not as it is in memory."""
  arrays = ARRAYS | {'e': np.arange(6.0).reshape(3, 2).T}
  kinds = [(name, tensor_files.kind_of(array)) for name, array in arrays.items()]
  tensor_files.write(tmp_path / 'ours', kinds, arrays.__getitem__)
  safetensors.save_file(ARRAYS, tmp_path / 'theirs')
  read = safetensors.load_file(tmp_path / 'ours')
  files = tensor_files.open_file(tmp_path / 'theirs')
  assert str(files.kinds['b']) == 'BF16[2]'
  for name, array in arrays.items():
    np.testing.assert_array_equal(read[name], array, strict=True)
  for name, array in ARRAYS.items():
    np.testing.assert_array_equal(files.read(name), array, strict=True)


def test_shards_have_the_tensors_of_one_file(tmp_path):
  folder = golden.copy(golden.GPT2, tmp_path / 'model')
  whole = tensor_files.open_folder(folder)
  expected = {name: whole.read(name) for name in whole.kinds}
  golden.shard(folder)
  files = tensor_files.open_folder(folder)
  assert files.kinds == whole.kinds
  for name, array in expected.items():
    np.testing.assert_array_equal(files.read(name), array, strict=True)


def change_index(folder: pathlib.Path, change) -> None:
  index = folder / 'model.safetensors.index.json'
  names = json.loads(index.read_text())['weight_map']
  change(names)
  index.write_text(json.dumps({'weight_map': names}))


def test_shards_that_do_not_fit_their_index_are_refused_with_the_file_and_the_tensor(tmp_path):
  folder = golden.copy(golden.GPT2, tmp_path / 'model')
  names = golden.shard(folder)
  files = sorted(set(names.values()))
  first = next(name for name in names if names[name] == files[0])
  for change, message in (
    (lambda names: names.pop(first), rf'{files[0]} has a tensor that .*index\.json does not name, {first}'),
    (lambda names: names.update({first: files[1]}), rf'{first} is in .*{files[0]} and in .*{files[1]}'),
    (lambda names: names.update(new=files[1]), rf'{files[1]} has no tensor new; download it again'),
    (lambda names: names.update(new='no.safetensors'), r'cannot read .*no\.safetensors: No such file'),
    (lambda names: names.update(new='../x'), 'weight_map must name files beside it'),
  ):
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': names}))
    change_index(folder, change)
    with pytest.raises(UserError, match=message):
      tensor_files.open_folder(folder)
  (folder / 'model.safetensors.index.json').unlink()
  with pytest.raises(UserError, match=rf'has {files[0]} but neither model\.safetensors nor'):
    tensor_files.open_folder(folder)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', r'model\.safetensors is damaged \(.*header too small'),
    (b'{"a": 1}', 'is damaged'),
    (None, 'is damaged .*not fully covered.*; download it again'),
    (b'PK\x03\x04' + bytes(20), 'is a pickle, which can run any program .* python -c .*save_pretrained'),
    (b'\x80\x02' + bytes(20), 'is a pickle'),
  ],
)
def test_a_damaged_file_and_a_pickle_are_refused(tmp_path, content, message):
  folder = golden.copy(golden.GPT2, tmp_path / 'model')
  file = folder / 'model.safetensors'
  file.write_bytes(file.read_bytes()[:-1] if content is None else content)
  with pytest.raises(UserError, match=message):
    tensor_files.open_folder(folder)


def test_a_directory_without_tensors_is_refused_and_one_of_pickles_with_the_command_that_converts_it(
  tmp_path,
):
  with pytest.raises(
    UserError, match=r'has no model\.safetensors; give the directory .* only pytorch_model\.bin'
  ):
    tensor_files.open_folder(tmp_path)
  (tmp_path / 'pytorch_model.bin').touch()
  with pytest.raises(UserError, match=rf'pytorch_model\.bin is a pickle.*from_pretrained\("{tmp_path}"\)'):
    tensor_files.open_folder(tmp_path)


def test_a_header_that_starts_as_a_pickle_is_none(tmp_path):
  """Its length is the start of the file."""
  about = {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}
  text = json.dumps({'a': about}).encode().ljust(0x280)
  (tmp_path / 'model.safetensors').write_bytes(len(text).to_bytes(8, 'little') + text)
  assert (tmp_path / 'model.safetensors').read_bytes().startswith(b'\x80\x02')
  assert tensor_files.open_folder(tmp_path).read('a').shape == (0,)


def test_quantized_tensors_are_refused(tmp_path):
  safetensors.save_file({'a': np.zeros(2, np.int8)}, tmp_path / 'model.safetensors')
  with pytest.raises(UserError, match=r'a is I8\[2\], not one of F64, F32, F16, BF16; use .* not quantized'):
    tensor_files.open_folder(tmp_path).read('a')
