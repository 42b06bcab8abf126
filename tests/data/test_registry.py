"""The registry of the kinds of data."""

import pytest

from infformer_jax.config.parsing import parse
from infformer_jax.data.base import DataConfig
from infformer_jax.data.tasks import TaskConfig
from infformer_jax.errors import ConfigError

KINDS = DataConfig.kinds()


def test_every_kind_is_registered_under_its_name():
  assert set(KINDS) >= {'stdlib', 'text', 'pg19', 'tfds', 'wikitext', 'sorting', 'recall'}
  for kind, config in KINDS.items():
    assert config.kind == kind
  assert {kind for kind, config in KINDS.items() if issubclass(config, TaskConfig)} == {'sorting', 'recall'}


def test_a_config_selects_its_kind_by_name():
  assert parse(DataConfig, {'kind': 'sorting', 'length': 30}).length == 30
  with pytest.raises(ConfigError, match="kind = 'sortng' .*did you mean 'sorting'"):
    parse(DataConfig, {'kind': 'sortng'})
