"""The config of a work directory: reading it from JSON, and comparing it with another config."""

import dataclasses
import json

import pytest

from infformer_jax.config import stored_config
from infformer_jax.errors import ConfigError
from tests.config.test_parsing import Diesel, Fleet, Pair, Ship, override


def test_a_config_is_unchanged_by_json():
  fleet = Fleet(seed=3, ship=Ship(crew=5, engine=Pair(first=Diesel(cylinders=(4, 6)))))
  text = json.dumps(dataclasses.asdict(fleet))
  assert stored_config.from_json(Fleet, text) == fleet
  assert json.loads(text)['ship']['engine']['first']['cylinders'] == [4, 6]


def test_invalid_json_is_rejected():
  with pytest.raises(ConfigError, match='not a config in JSON'):
    stored_config.from_json(Fleet, '{"seed": ')
  with pytest.raises(ConfigError, match='not a config in JSON'):
    stored_config.from_json(Fleet, '[]')


def test_differences_contain_the_key_and_both_values():
  new = override('seed=2', 'ship.length=7', 'ship.engine.boilers=4')
  assert stored_config.differences(Fleet(), new, except_for=['seed']) == [
    'ship.length: 100 in the work directory, 7 requested',
    'ship.engine.boilers: 2 in the work directory, 4 requested',
  ]
  assert stored_config.differences(Fleet(), new, except_for=['seed', 'ship']) == []
  assert stored_config.differences(Fleet(), override('ship.engine.kind=diesel')) == [
    'ship.engine.kind: steam in the work directory, diesel requested'
  ]
