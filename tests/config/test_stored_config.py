"""The config of a work directory: reading it from JSON, and comparing it with another config."""

import dataclasses
import json
import os

import pytest
from etils import epath

from infformer_jax.config import stored_config
from infformer_jax.errors import ConfigError
from tests.config.test_parsing import Diesel, Fleet, Pair, Ship, override


def test_a_config_is_unchanged_by_json():
  fleet = Fleet(seed=3, ship=Ship(crew=5, engine=Pair(first=Diesel(cylinders=(4, 6)))))
  text = json.dumps(dataclasses.asdict(fleet))
  assert stored_config.from_json(Fleet, text) == fleet
  assert json.loads(text)['ship']['engine']['first']['cylinders'] == [4, 6]


@pytest.mark.parametrize('text', ['{"seed": ', '[]', '[' * 100_000, '{"seed": ' + '9' * 5000 + '}'])
def test_invalid_json_is_rejected(text):
  with pytest.raises(ConfigError, match='not a config in JSON'):
    stored_config.from_json(Fleet, text)


def test_a_file_that_is_no_config_is_named(tmp_path):
  file = epath.Path(tmp_path / 'config.json')
  file.write_text('{"ship": 3}')
  with pytest.raises(ConfigError, match=r'config\.json: ship is no section \(a int\); restore it'):
    stored_config.read_config(Ship, file, 'ship')
  file.unlink()
  os.mkfifo(file)
  with pytest.raises(ConfigError, match=r'cannot read .*config\.json: not a regular file'):
    stored_config.read_config(Fleet, file)


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
