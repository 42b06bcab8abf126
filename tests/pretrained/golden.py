"""The stored checkpoints, and copies of them that tests change."""

import json
import pathlib
import shutil

import numpy as np
from safetensors import numpy as safetensors

FOLDER = pathlib.Path(__file__).parents[1] / 'golden' / 'pretrained'
GPT2, LLAMA, QWEN2 = 'gpt2_by_layer', 'llama3', 'qwen2_sliding'
NAMES = (GPT2, LLAMA, QWEN2)


def copy(name: str, folder: pathlib.Path, **changes) -> pathlib.Path:
  """A copy in a new folder; None removes a key of config.json."""
  shutil.copytree(FOLDER / name, folder)
  file = folder / 'config.json'
  config = json.loads(file.read_text()) | changes
  file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
  return folder


def tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
  return safetensors.load_file(folder / 'model.safetensors')


def save(folder: pathlib.Path, tensors: dict[str, np.ndarray]) -> None:
  safetensors.save_file(tensors, folder / 'model.safetensors')


def shard(folder: pathlib.Path) -> dict[str, str]:
  """Divides the tensors among two files with an index; returns the file of each."""
  arrays, names = tensors(folder), {}
  for number in (1, 2):
    part = {name: array for i, (name, array) in enumerate(arrays.items()) if i % 2 == number - 1}
    file = f'model-0000{number}-of-00002.safetensors'
    safetensors.save_file(part, folder / file)
    names |= dict.fromkeys(part, file)
  (folder / 'model.safetensors').unlink()
  (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': names}))
  return names
