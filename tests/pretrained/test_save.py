"""What is saved is read back bit for bit; other programs read the same files (tests/parity)."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from infformer_jax.errors import ConfigError, UserError
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.pretrained.registry import ARCHITECTURES
from infformer_jax.pretrained.save import save
from infformer_jax.train.checkpoint import named_arrays
from tests import toy
from tests.pretrained import golden


@pytest.mark.parametrize('name', golden.NAMES)
def test_models_and_their_memory_are_restored_bit_for_bit(name, tmp_path):
  """Factors of W_q of the first checkpoint are in the saved parameters, and not in the saved config."""
  checkpoint = Checkpoint(golden.FOLDER / name)
  memory = toy.small('continuous', layers=(1,))
  model = checkpoint.model_config(segment_length=8, short_term_length=8, window='block', memory=memory)
  warnings: list[str] = []
  trained = checkpoint.load(model, warn=warnings.append)
  assert len(warnings) == (name == golden.GPT2)  # About the drift, which the saved model has.
  trained = dataclasses.replace(trained, params=jax.tree.map(lambda leaf: leaf + 0.5, trained.params))
  out = save(trained, tmp_path / 'deep' / 'out', like=checkpoint.settings)
  again = Checkpoint(out)
  assert again.model_config() == model
  assert again.settings.get('bos_token_id') == checkpoint.settings.get('bos_token_id') == 0
  before, after = (named_arrays({'params': each.params}) for each in (trained, again.load()))
  assert before.keys() == after.keys()
  for key, array in before.items():
    np.testing.assert_array_equal(after[key], array, strict=True)
  assert sorted(file.name for file in out.parent.iterdir()) == ['out']


@pytest.mark.parametrize('architecture', ARCHITECTURES, ids=lambda each: each.model_type)
def test_the_table_of_names_has_all_parameters(architecture):
  name = next(name for name in golden.NAMES if name.startswith(architecture.model_type))
  checkpoint = Checkpoint(golden.FOLDER / name)
  model = checkpoint.model_config(segment_length=8, short_term_length=0, tie_embeddings=False)
  _, params = toy.build(model)
  ours = {name for row in architecture.rows(model) for name in row.ours}
  assert {f'params/{name}' for name in ours} == named_arrays({'params': params}).keys()


def test_trunks_without_an_architecture_are_refused_by_the_key_and_nothing_is_replaced(tmp_path):
  checkpoint = Checkpoint(golden.FOLDER / golden.LLAMA)
  model = checkpoint.model_config(segment_length=8, short_term_length=0)
  for change, message in (
    ({'normalize_qk': True}, r"model\.normalize_qk = True: no .* \(the nearest, 'llama', has False\)"),
    ({'qkv_bias': True, 'feed_forward_bias': True}, r'model\.(attention_output|feed_forward)_bias = '),
  ):
    with pytest.raises(ConfigError, match=message):
      save(toy.trained(dataclasses.replace(model, **change)), tmp_path / 'out')
  with pytest.raises(ConfigError, match="model.positions = 'xl': no architecture"):
    save(toy.trained(toy.config(feed_forward_bias=True, qkv_bias=True, attention_output_bias=True)), tmp_path)
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='has files already, which are not replaced; use a new directory'):
    save(toy.trained(model), tmp_path)
  with pytest.raises(ConfigError, match='must be a local path'):
    save(toy.trained(model), 'gs://bucket/out')


def test_a_save_that_fails_leaves_no_directory(tmp_path, monkeypatch):
  model = Checkpoint(golden.FOLDER / golden.LLAMA).model_config(segment_length=8, short_term_length=0)

  def full(*args):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr('infformer_jax.files.write_json', full)
  with pytest.raises(UserError, match=r'cannot write out = .*out: No space left on device'):
    save(toy.trained(model), tmp_path / 'out')
  assert not list(tmp_path.iterdir())


def test_an_empty_directory_is_used(tmp_path):
  model = Checkpoint(golden.FOLDER / golden.QWEN2).model_config(segment_length=8, short_term_length=8)
  save(toy.trained(model), tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  assert (config['model_type'], config['sliding_window'], config['torch_dtype']) == ('qwen2', 8, 'float32')
  assert not (tmp_path / 'memory.json').exists()
  assert len(jax.tree.leaves(Checkpoint(tmp_path).load(model).params)) > 20
