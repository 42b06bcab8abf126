"""User errors: their types, and the message about an unknown name."""

import pytest

from infformer_jax.errors import ConfigError, UserError, check_range, unknown


def test_a_config_error_is_a_user_error_and_a_value_error():
  assert issubclass(ConfigError, UserError)
  assert issubclass(ConfigError, ValueError)
  assert not issubclass(UserError, ValueError)


@pytest.mark.parametrize(
  ('name', 'allowed', 'elsewhere', 'sentence'),
  [
    (
      'lenght',
      ['length', 'seed'],
      [],
      "unknown key 'a.lenght'; did you mean 'length'? (allowed: length, seed)",
    ),
    ('zzz', ['length'], [], "unknown key 'a.zzz' (allowed: length)"),
    ('zzz', [], [], "unknown key 'a.zzz' (allowed: none)"),
    ('zzz', ['length'], ['b.zzz'], "unknown key 'a.zzz'; did you mean 'b.zzz'? (allowed: length)"),
    ('lengt', ['length'], ['b.lengt'], "unknown key 'a.lengt'; did you mean 'b.lengt'? (allowed: length)"),
  ],
)
def test_the_message_about_an_unknown_name_has_the_nearest_and_the_allowed_names(
  name, allowed, elsewhere, sentence
):
  assert unknown('key', f'a.{name}', name, iter(allowed), elsewhere) == sentence


@pytest.mark.parametrize(
  ('value', 'most', 'interval'),
  [(0, 2**31 - 1, '[1, 2^31 - 1]'), (2**31, 2**31 - 1, '[1, 2^31 - 1]'), (10_001, 10_000, '[1, 10,000]')],
)
def test_an_integer_outside_its_range_is_refused(value, most, interval):
  with pytest.raises(ConfigError) as caught:
    check_range('size', value, 1, most)
  assert str(caught.value) == f'size = {value} must be in {interval}'
  for valid in (1, most, None):
    check_range('size', valid, 1, most)
