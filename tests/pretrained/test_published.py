"""The sizes of published models: they have the published numbers of parameters."""

import json

import jax
import pytest

from infformer_jax.memory.none import NothingConfig
from infformer_jax.pretrained import published
from infformer_jax.train import restore

LENGTHS = {'segment_length': 8, 'short_term_length': 0, 'memory': NothingConfig()}
NUM_PARAMETERS = {
  'gpt2': 124_439_808,
  'smollm2_135m': 134_515_008,
  'smollm2_360m': 361_821_120,
  'llama32_1b': 1_235_814_400,
  'qwen2_05b': 494_032_768,
}


@pytest.mark.parametrize('name', published.MODELS)
def test_a_published_model_has_its_number_of_parameters(name):
  config = published.MODELS[name].config
  shapes = restore.abstract_parameters(published.model_config(config, None, **LENGTHS), config['vocab_size'])
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == NUM_PARAMETERS[name]


def test_the_config_of_a_checkpoint_counts_instead(tmp_path):
  own = published.MODELS['gpt2'].config | {'n_embd': 64, 'n_layer': 2, 'n_head': 2}
  (tmp_path / 'config.json').write_text(json.dumps(own))
  model = published.model_config(published.MODELS['qwen2_05b'].config, str(tmp_path), **LENGTHS)
  assert model == published.model_config(own, None, **LENGTHS)
  assert (model.d_model, model.num_layers, model.positions) == (64, 2, 'learned')
