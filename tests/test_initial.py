"""Sources of initial parameters: the hash of pretrained ones, their tokenizer, and what is not a source."""

import json

import numpy as np
import pytest

from infformer_jax import initial
from infformer_jax.data.base import StoredSplit
from infformer_jax.data.text import TextConfig
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.files import write_json
from infformer_jax.nn import position_drift, transformer
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.train.checkpoint import named_arrays
from infformer_jax.train.checksum import described
from infformer_jax.train.mesh import make_mesh
from infformer_jax.train.restore import parameters_sha256
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


@pytest.mark.slow
def test_the_drift_of_positions_is_measured_on_training_text_where_it_is_missing():
  """The documents have fewer tokens than the texts, which repeat them."""
  config = toy.config(toy.small('continuous'), positions='learned', num_layers=3)
  graphdef, params = toy.build(config)
  given = named_arrays({'params': params})
  names = {f'params/blocks/{i}/position_drift_td' for i in (1, 2)}
  assert {name for name in given if 'drift' in name} == names
  documents = StoredSplit.from_tokens([[3, 1, 2, 5, 7], [4, 6, 8, 9, 1]])
  lines = []

  def with_drift(given):
    return initial.with_position_drift(given, config, documents, make_mesh(), lines.append)

  assert with_drift(given) == given
  assert not lines
  measured = with_drift({name: array for name, array in given.items() if name not in names})
  assert lines == ['measuring the drift of learned positions on 64 texts of 8 tokens']
  assert measured.keys() == given.keys()
  texts_bt = np.tile([3, 1, 2, 5, 7, 4, 6, 8, 9, 1], 52)[:512].reshape(64, 8)
  expected = position_drift.measure(transformer.merge(graphdef, params), texts_bt)
  for i, drift_td in expected.items():
    assert toy.error(measured[f'params/blocks/{i}/position_drift_td'], drift_td) < toy.TOLERANCE
