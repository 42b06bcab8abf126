"""Keys of config.json are checked, and errors name the file, the key and its value."""

import pytest

from infformer_jax.errors import UserError
from infformer_jax.pretrained.settings import Settings

VALUES = {
  'layers': 2,
  'eps': 1,
  'tied': True,
  'act': 'gelu',
  'null': None,
  'large': 2**31,
  'huge': 10**400,
  'rope': {'factor': 0},
}


def test_values_and_defaults():
  settings = Settings(VALUES, 'config.json')
  assert settings.integer('layers') == 2
  assert settings.number('eps') == 1.0
  assert settings.flag('tied', False) is True
  assert settings.choice('act', 'relu', {'gelu': 'gelu_erf'}) == 'gelu_erf'
  assert settings.integer('null', 3) == settings.integer('absent', 3) == 3
  assert 'null' not in settings
  settings.require('null', False)
  settings.require('tied', True)


@pytest.mark.parametrize(
  ('read', 'message'),
  [
    (lambda s: s.integer('act'), 'config.json: act = "gelu" is not supported; it must be a positive integer'),
    (lambda s: s.integer('tied'), 'tied = true is not supported'),
    (lambda s: s.integer('large'), 'large = 2147483648 is not supported; it must be a positive integer'),
    (lambda s: s.number('huge'), 'huge = 1000.* is not supported; it must be a positive number'),
    (lambda s: s.integer('absent'), 'config.json has no absent, which must be a positive integer'),
    (lambda s: s.number('act'), 'act = "gelu" is not supported; it must be a positive number'),
    (lambda s: s.flag('layers', False), 'layers = 2 is not supported; it must be true or false'),
    (
      lambda s: s.choice('act', 'a', {'a': 1, 'b': 2}),
      'act = "gelu" is not supported; it must be "a" or "b"',
    ),
    (lambda s: s.require('tied', False), 'tied = true is not supported; it must be false or null'),
    (lambda s: s.section('rope').number('factor'), r'rope\.factor = 0 is not supported'),
    (lambda s: s.section('act'), 'act = "gelu" is not supported; it must be an object'),
  ],
)
def test_other_values_are_refused(read, message):
  with pytest.raises(UserError, match=message):
    read(Settings(VALUES, 'config.json'))


def test_a_directory_without_a_model_is_refused(tmp_path):
  with pytest.raises(UserError, match=r'cannot read .*config\.json: No such file'):
    Settings.read(tmp_path)
  (tmp_path / 'config.json').write_text('[]')
  with pytest.raises(UserError, match=r'config\.json is damaged \(no JSON object\)'):
    Settings.read(tmp_path)
