"""Parsing, overrides and config files, with dataclasses of this file."""

import dataclasses
from typing import Literal

import pytest
from ml_collections import ConfigDict

from infformer_jax.config import parsing as config_lib
from infformer_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
  kind: str
  cylinders: tuple[int, ...] | None = None

  @staticmethod
  def kinds():
    return {'steam': Steam, 'diesel': Diesel, 'pair': Pair}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steam(Engine):
  kind: Literal['steam'] = 'steam'
  boilers: int = 2
  pressures: tuple[float, ...] = (1.5,)

  def __post_init__(self):
    if self.boilers % 2:
      raise ConfigError(f'boilers = {self.boilers} is odd; use {self.boilers + 1}')
    if self.pressures == (13.0,):
      raise ConfigError('thirteen is not allowed')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diesel(Engine):
  kind: Literal['diesel'] = 'diesel'
  injection: Literal['direct', 'indirect'] = 'direct'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair(Engine):
  kind: Literal['pair'] = 'pair'
  first: Engine
  second: Engine = Steam(boilers=4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ship:
  length: int = 100
  draught: float = 3.0
  crew: int | None = None
  speed: float | None = 9
  anchor: float | Literal['weighed'] = 1.5
  sails: bool = False
  port: str | None = None
  size: tuple[int, int] = (3, 4)
  engine: Engine = Steam()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fleet:
  seed: int = 0
  ship: Ship = Ship()

  def __post_init__(self):
    if self.seed == 13:
      raise ConfigError(f'ship.length = {self.ship.length} does not go with seed = 13')


def override(*flags: str, fleet: Fleet = Fleet()) -> Fleet:
  return config_lib.override(fleet, [tuple(flag.split('=', 1)) for flag in flags])


def message(*flags: str) -> str:
  with pytest.raises(ConfigError) as error:
    override(*flags)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_a_config_is_unchanged_by_config_dict():
  fleet = Fleet(seed=3, ship=Ship(crew=5, engine=Pair(first=Diesel(cylinders=(4, 6)))))
  assert config_lib.parse(Fleet, config_lib.config_dict(fleet)) == fleet


def test_optional_fields_of_a_config_dict_keep_their_type():
  config = config_lib.config_dict(Fleet())
  assert isinstance(config, ConfigDict)
  config.ship.crew = 7
  config.ship.port = 'Genoa'
  config.ship.speed = None
  config.ship.anchor = 'weighed'
  ship = config_lib.parse(Fleet, config).ship
  assert (ship.crew, ship.port, ship.speed, ship.anchor) == (7, 'Genoa', None, 'weighed')
  with pytest.raises(TypeError):
    config.ship.crew = 'many'


@pytest.mark.parametrize(
  ('flag', 'name', 'value'),
  [
    ('draught=7', 'draught', 7.0),
    ('speed=none', 'speed', None),
    ('port=a=b', 'port', 'a=b'),
    ('engine.cylinders=1', 'engine', Steam(cylinders=(1,))),
  ],
)
def test_a_flag_is_parsed_by_the_type_of_its_field(flag, name, value):
  got = getattr(override(f'ship.{flag}').ship, name)
  assert got == value
  assert type(got) is type(value)


@pytest.mark.parametrize(
  ('flag', 'sentence'),
  [
    ('length=long', "ship.length = 'long' must be an int"),
    ('engine.cylinders=1.5', 'ship.engine.cylinders = (1.5,) must be a tuple of ints or None'),
    (
      'engine=steam',
      "ship.engine = 'steam' must not be set, because it is a section; set one of its keys (kind, cylinders,",
    ),
    ('length.x=1', "unknown key 'ship.length.x': 'ship.length' is an int and has no keys of its own"),
    ('engine.boilers=3', 'ship.engine.boilers = 3 is odd; use 4'),
    ('engine.pressures=13', 'ship.engine: thirteen is not allowed'),
    ('engine.kind=stem', "engine.kind = 'stem' must be one of steam, diesel, pair; did you mean 'steam'?"),
    ('engine.boiler=4', "unknown key 'ship.engine.boiler'; did you mean 'boilers'? (allowed: kind, cyl"),
  ],
)
def test_an_invalid_flag_is_a_one_line_error(flag, sentence):
  assert sentence in message(f'ship.{flag}')


def test_a_key_of_another_section_is_suggested_with_its_path():
  assert "unknown key 'ship.boilers'; did you mean 'ship.engine.boilers'?" in message('ship.boilers=2')
  assert "unknown key 'shop.length'; did you mean 'ship.length'?" in message('shop.length=2')


def test_an_invalid_literal_is_an_error_with_the_choices_and_the_nearest():
  sentence = message('ship.engine.kind=diesel', 'ship.engine.injection=dirct')
  assert sentence == "ship.engine.injection = 'dirct' must be one of direct, indirect; did you mean 'direct'?"


def test_changing_the_kind_starts_from_the_defaults_of_the_new_kind_in_any_order():
  changed = Fleet(ship=Ship(engine=Steam(cylinders=(9,), boilers=8)))
  flags = ('ship.engine.injection=indirect', 'ship.engine.kind=diesel')
  for order in (flags, flags[::-1]):
    # A field that all kinds share keeps its value.
    assert override(*order, fleet=changed).ship.engine == Diesel(cylinders=(9,), injection='indirect')
  assert override('ship.engine.kind=steam', fleet=changed) == changed  # The config already has this kind.


def test_sections_with_kinds_can_be_nested():
  flags = ('ship.engine.first.boilers=6', 'ship.engine.first.kind=steam', 'ship.engine.kind=pair')
  assert override(*flags).ship.engine == Pair(first=Steam(boilers=6))
  missing = "missing key 'ship.engine.first.kind' (allowed: steam, diesel, pair)"
  assert message('ship.engine.kind=pair') == missing


def test_the_last_of_several_values_takes_effect():
  assert override('seed=1', 'seed=2').seed == 2


def test_errors_about_several_sections_are_not_prefixed_with_a_key():
  assert message('seed=13') == 'ship.length = 100 does not go with seed = 13'


def test_parse_is_strict():
  with pytest.raises(ConfigError, match="unknown key 'ship.lenght'; did you mean 'length'"):
    config_lib.parse(Fleet, {'ship': {'lenght': 3}})
  with pytest.raises(ConfigError, match='ship = 3 must be a section with the keys length, draught'):
    config_lib.parse(Fleet, {'ship': 3})
  with pytest.raises(ConfigError, match="missing key 'ship.engine.first'"):
    config_lib.parse(Fleet, {'ship': {'engine': {'kind': 'pair'}}})
  with pytest.raises(ConfigError, match='length = 3.5 must be an int'):
    config_lib.config_dict(Ship(length=3.5))  # type: ignore[arg-type]


@pytest.fixture
def write_file(tmp_path):
  def write(body: str) -> str:
    file = tmp_path / 'voyage.py'
    imports = 'from infformer_jax.config import parsing as config\nfrom tests.config.test_parsing import *\n'
    file.write_text(imports + body)
    return str(file)

  return write


def test_a_config_file_is_loaded_with_its_argument_and_overrides(write_file):
  file = write_file(
    'def get_config(argument=None):\n'
    "  size = config.parse_argument(argument, size=('small', ('small', 'large'))).size\n"
    "  return config.config_dict(Fleet(ship=Ship(length={'small': 10, 'large': 900}[size])))\n"
  )
  assert config_lib.load_config(file, cls=Fleet).ship.length == 10
  assert config_lib.load_config(file + ':size=large', [('seed', '4')], cls=Fleet).ship.length == 900
  wrong = r"voyage.py: argument size = 'lrge' must be one of small, large; did you mean 'large'\?$"
  with pytest.raises(ConfigError, match=wrong):
    config_lib.load_config(file + ':size=lrge', cls=Fleet)
  with pytest.raises(
    ConfigError, match=r"voyage.py: unknown argument 'large' \(allowed: size=small\|large\)$"
  ):
    config_lib.load_config(file + ':large', cls=Fleet)


def test_an_invalid_config_file_is_a_one_line_error(write_file, tmp_path):
  file = write_file('def get_config():\n  return config.config_dict(Fleet(seed=13))\n')
  with pytest.raises(ConfigError, match=r'voyage.py: ship.length = 100 does not go with seed = 13$'):
    config_lib.load_config(file, cls=Fleet)
  with pytest.raises(
    ConfigError, match="voyage.py takes no argument, such as 'size=small'; use --config=.*voyage.py$"
  ):
    config_lib.load_config(file + ':size=small', cls=Fleet)
  with pytest.raises(ConfigError, match=r"unknown config file '.*voyages.py'; did you mean '.*voyage.py'\?"):
    config_lib.load_config(str(tmp_path / 'voyages.py'), cls=Fleet)
  with pytest.raises(
    ConfigError, match=r'voyage.py has no function get_config; add one that returns config_dict'
  ):
    config_lib.load_config(write_file('get_cnfig = None\n'), cls=Fleet)
  with pytest.raises(ConfigError, match=r'get_config must return config_dict\(Fleet.*, not a NoneType'):
    config_lib.load_config(write_file('def get_config():\n  pass\n'), cls=Fleet)


def test_a_name_that_is_too_long_and_another_kind_of_file_are_refused(tmp_path):
  with pytest.raises(ConfigError, match="unknown config file 'aaaa"):
    config_lib.load_config('a' * 5000, cls=Fleet)
  (tmp_path / 'config.json').write_text('{"a": true}')
  with pytest.raises(ConfigError, match=r'config.json\' must be a Python file, config\.py; without --config'):
    config_lib.load_config(str(tmp_path / 'config.json'), cls=Fleet)


@pytest.mark.parametrize('file', ['', 'gs://bucket/voyage.py:size=large'])
def test_a_config_file_is_a_local_one(file):
  with pytest.raises(ConfigError, match=f"--config = '{file}' must be a local file"):
    config_lib.load_config(file, cls=Fleet)
