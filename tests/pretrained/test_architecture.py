"""Every key of ModelConfig is determined by config.json or the user's choice; config.json can be written."""

import dataclasses

import pytest

from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.pretrained.architecture import USERS_CHOICE, differences, keys
from infformer_jax.pretrained.registry import ARCHITECTURES
from infformer_jax.pretrained.settings import Settings

SIZES = {'d_model': 24, 'num_layers': 2, 'num_heads': 3, 'head_dim': 10, 'd_ff': 20}
OURS = ModelConfig(**SIZES, segment_length=8, short_term_length=0, memory=NothingConfig())


@pytest.mark.parametrize('architecture', ARCHITECTURES, ids=lambda each: each.model_type)
def test_the_nearest_model_of_an_architecture_is_what_its_settings_say(architecture):
  """Of a model that it does not have, so that keys differ, and of the nearest one, so that none does."""
  nearest = keys(architecture, Settings(architecture.settings(OURS), 'config.json'))
  assert nearest.keys() | set(USERS_CHOICE) == {field.name for field in dataclasses.fields(ModelConfig)}
  assert not nearest.keys() & set(USERS_CHOICE)
  different = [key for key, _, _ in differences(OURS, nearest)]
  assert 'positions' in different
  assert 'num_layers' not in different
  model = dataclasses.replace(OURS, **nearest)
  again = keys(architecture, Settings(architecture.settings(model), 'config.json'))
  assert differences(model, again) == []
  assert len({name for row in architecture.rows(model) for name in (row.theirs, *row.ours)}) > 20


def test_keys_that_are_none_are_compared_by_what_they_mean():
  expected = {'num_kv_heads': 3, 'head_dim': 8, 'd_ff': 21, 'feed_forward_bias': True}
  model = dataclasses.replace(OURS, head_dim=None)
  assert differences(model, expected) == [('d_ff', 20, 21)]
