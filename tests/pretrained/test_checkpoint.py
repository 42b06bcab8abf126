"""A checkpoint as a ModelConfig and as parameters; the keys and names that do not fit are named."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
from etils import epath

from infformer_jax import initial, objects
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import position_drift
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained import memory_files
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.train.checkpoint import named_arrays
from infformer_jax.train.mesh import make_mesh
from tests import toy
from tests.pretrained import golden

MEMORY = toy.small('continuous')


@pytest.fixture
def checkpoint() -> Checkpoint:
  return Checkpoint(golden.FOLDER / golden.LLAMA)


def test_the_config_has_the_keys_of_the_checkpoint_and_those_that_users_choose(checkpoint):
  model = checkpoint.model_config(segment_length=4, short_term_length=8, dropout=0.1)
  assert (model.segment_length, model.short_term_length, model.dropout, model.window) == (4, 8, 0.1, 'block')
  assert (model.d_model, model.kv_heads, model.memory) == (16, 2, NothingConfig())
  assert checkpoint.model_config(segment_length=4, short_term_length=8, memory=MEMORY).memory == MEMORY
  with pytest.raises(ConfigError, match=r'short_term_length must be given, because .* has no memory\.json'):
    checkpoint.model_config(segment_length=4)


def test_a_directory_without_a_config_is_refused_with_the_key_that_names_it(tmp_path):
  with pytest.raises(UserError, match=rf'^checkpoint = {tmp_path} has no config\.json; give the directory'):
    Checkpoint(tmp_path, 'checkpoint')


def test_a_new_memory_is_drawn_and_all_else_is_read(checkpoint):
  model = checkpoint.model_config(segment_length=4, short_term_length=4, memory=MEMORY)
  trained = checkpoint.load(model)
  tensors = golden.tensors(checkpoint.folder)
  block = trained.params['blocks'][0]
  q_dk = tensors['model.layers.0.self_attn.q_proj.weight'].astype(np.float32).T
  np.testing.assert_array_equal(block['attention']['w_q']['kernel'], q_dk)
  assert block['attention']['w_q']['kernel'].dtype == np.float32
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(block['memory']))
  placed = {leaf.sharding for leaf in jax.tree.leaves(trained.params)}
  assert placed == {jax.NamedSharding(make_mesh(), jax.P())}


def test_a_window_over_learned_positions_warns_until_its_drift_is_measured():
  checkpoint = Checkpoint(golden.FOLDER / golden.GPT2)
  model = checkpoint.model_config(segment_length=4, short_term_length=4)
  with pytest.warns(UserWarning, match=r'gpt2_by_layer has no drift .* short_term_length = 4, .*\.measure'):
    trained = checkpoint.load(model)
  texts_bt = np.arange(32).reshape(4, 8)
  drift = toy.quickly(lambda: position_drift.measure(trained.model(), texts_bt))()
  for i, drift_td in drift.items():
    trained.params['blocks'][i]['position_drift_td'] = drift_td
  found_td = trained.model().blocks[1].position_drift_td[...]
  np.testing.assert_array_equal(found_td, drift[1])
  assert np.abs(found_td[:8]).max() > 0.01
  lines: list[str] = []
  checkpoint.load(checkpoint.model_config(segment_length=4, short_term_length=0), warn=lines.append)
  assert not lines


def test_every_key_that_differs_is_named(checkpoint):
  model = checkpoint.model_config(segment_length=4, short_term_length=4)
  checkpoint.require_fit(model, 67)
  checkpoint.require_fit(dataclasses.replace(model, dropout=0.1, memory=MEMORY, compute_dtype='bfloat16'), 67)
  other = dataclasses.replace(model, num_heads=2, rotary_scaling=None, head_dim=4, norm_epsilon=1e-5)
  with pytest.raises(UserError) as error:
    checkpoint.require_fit(other, 257)
  for part in (
    'model.num_heads = 2, the checkpoint has 4',
    'model.norm_epsilon = 1e-05, the checkpoint has 0.001',
    'model.rotary_scaling = None, the checkpoint has RotaryScaling(',
    'data.tokenizer has 257 ids, the checkpoint has 67',
  ):
    assert part in str(error.value)
  assert 'head_dim' not in str(error.value)
  with pytest.raises(UserError, match="model.positions = 'xl', the checkpoint has 'rotary'"):
    checkpoint.require_fit(ModelConfig(), 67)


def test_the_memory_of_an_exported_model_must_fit_too(tmp_path, checkpoint):
  folder = golden.copy(golden.LLAMA, tmp_path / 'model')
  model = checkpoint.model_config(segment_length=4, short_term_length=4, memory=MEMORY)
  params = {'blocks/0/memory/w_mu': np.zeros((3, 2), np.float32)}
  memory_files.write(folder, model, params)
  exported = Checkpoint(folder)
  assert exported.model_config() == model
  assert exported.model_config(segment_length=2).segment_length == 2
  without = exported.model_config(memory=NothingConfig())
  assert not any('/memory/' in name for name, _ in exported.parameters(without, make_mesh()))
  with pytest.raises(
    UserError,
    match=r'w_mu is F32\[3,2\] in memory\.safetensors, .* in the model; set model\.memory as in memory\.json',
  ):
    exported.load()


def test_an_exported_drift_is_that_of_its_window_and_is_missing_with_another_one(tmp_path):
  """Its rows beyond the window are 0, which is worse than no window."""
  folder = golden.copy(golden.GPT2, tmp_path / 'model')
  model = Checkpoint(folder).model_config(segment_length=4, short_term_length=4, memory=MEMORY)
  memory_files.write(folder, model, {'blocks/1/position_drift_td': np.ones((40, 16), np.float32)})
  for lengths, found in (((4, 4), True), ((4, 8), False), ((8, 0), False)):
    exported = Checkpoint(folder)
    other = exported.model_config(segment_length=lengths[0], short_term_length=lengths[1])
    exported.require_fit(other, 67)
    names = [name for name, _ in exported.parameters(other, make_mesh()) if 'drift' in name]
    assert names == ['params/blocks/1/position_drift_td'] * found


def test_a_checkpoint_in_a_bucket_is_copied_to_the_cache_once(bucket, tmp_path, monkeypatch, checkpoint):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  place = f'gs://bucket{tmp_path}/model'
  for file in checkpoint.folder.iterdir():
    objects.write(epath.Path(f'{place}/{file.name}'), file.read_bytes())
  model = checkpoint.model_config(segment_length=4, short_term_length=4)
  expected = named_arrays({'params': checkpoint.load(model).params})
  for _ in range(2):
    source = initial.source(place)
    found = source.parameters(model, vocab_size=67, mesh=make_mesh(), say=lambda line: None)
    chex.assert_trees_all_equal(found, expected)
  copied = sorted(file.name for file in (tmp_path / 'cache').rglob('*') if file.is_file())
  assert [name for name in copied if not name.endswith('.lock')] == ['config.json', 'model.safetensors']
