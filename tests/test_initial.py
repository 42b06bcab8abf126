"""Sources of initial parameters: the hash of pretrained ones, their tokenizer, and what is not a source."""

import json

import pytest

from infformer_jax import initial
from infformer_jax.data.text import TextConfig
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.files import write_json
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.train.checksum import described
from infformer_jax.train.restore import parameters_sha256
from infformer_jax.train.sharding import make_mesh
from tests import toy
from tests.data import test_pretrained_tokenizer
from tests.pretrained import golden


def data(tokenizer):
  return TextConfig(source_dir='texts', tokenizer=tokenizer)


def model_of(folder, **changes):
  return Checkpoint(folder).model_config(segment_length=4, short_term_length=4, **changes)


def test_the_hash_is_that_of_the_parameters_however_they_are_stored(tmp_path):
  folder = golden.copy(golden.LLAMA, tmp_path / 'model')
  model = model_of(folder, memory=toy.small('continuous'))
  lines = []
  source = initial.source(str(folder))
  source.require(model)
  given = source.parameters(model, vocab_size=67, mesh=make_mesh(), say=lines.append)
  sha256 = source.sha256(model)
  assert sha256 == [parameters_sha256(described(given))]
  assert lines[0].startswith(
    f'starting from the parameters of {folder} (llama); new parameters: blocks/0/mem'
  )
  wide = golden.copy(golden.LLAMA, tmp_path / 'wide')
  golden.save(wide, {name: array.astype('float32') for name, array in golden.tensors(wide).items()})
  golden.shard(wide)
  assert initial.source(str(wide)).sha256(model) == sha256
  tensors = golden.tensors(folder)
  tensors['model.norm.weight'] *= 2
  golden.save(folder, tensors)
  assert initial.source(str(folder)).sha256(model) != sha256


def test_another_model_is_refused_before_tensors_are_read(tmp_path):
  folder = golden.copy(golden.LLAMA, tmp_path / 'model')
  with pytest.raises(
    UserError, match=r'init_from = .*model does not fit the config: model\.d_model = 512, the'
  ):
    initial.source(str(folder)).require(toy.config(d_model=512))
  (folder / 'model.safetensors').unlink()
  with pytest.raises(UserError, match=r'has no model\.safetensors'):
    initial.source(str(folder)).require(model_of(folder))


def test_the_data_have_the_tokenizer_of_the_model_if_it_has_one(tmp_path):
  folder = golden.copy(golden.LLAMA, tmp_path / 'model')
  assert initial.source(str(folder)).tokenizer(data('bytes')) is None
  config = json.loads((folder / 'config.json').read_text()) | {'vocab_size': 310}
  test_pretrained_tokenizer.write(folder, config)
  source = initial.source(str(folder))
  assert source.tokenizer(data(f'pretrained:{folder}')).vocab_size == 310
  with pytest.raises(
    ConfigError, match=rf"'bytes' must be .*use --config\.data\.tokenizer=pretrained:{folder}"
  ):
    source.tokenizer(data('bytes'))


def test_a_work_directory_is_not_taken_for_a_pretrained_model(tmp_path):
  """Also if it has been started in the directory of one."""
  write_json(tmp_path / 'config.json', {'model': {}, 'data': {}})
  with pytest.raises(UserError, match='has no checkpoint; use the directory of a training run'):
    initial.source(str(tmp_path)).require(toy.config())
  write_json(tmp_path / 'config.json', {'model_type': 'gpt2'})
  (tmp_path / 'checkpoints').mkdir()
  with pytest.raises(UserError, match='has no checkpoint'):
    initial.source(str(tmp_path)).require(toy.config())
  with pytest.raises(UserError, match='openai/none does not exist; .* init_from = hf:openai/none'):
    initial.source('openai/none')
