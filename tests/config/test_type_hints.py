"""Type hints: parsing text, checking values, and describing types."""

import dataclasses
from typing import Literal

import pytest

from infformer_jax.config import type_hints
from infformer_jax.config.type_hints import convert, describe, read


@dataclasses.dataclass
class Sail:
  area: float
  reefs: int = 2


@dataclasses.dataclass
class Boat:
  sail: Sail
  name: str
  spare: Sail | None = dataclasses.field(default_factory=lambda: Sail(area=1.0))
  crew: int | None = None


@pytest.mark.parametrize(
  ('text', 'hint', 'value'),
  [
    ('7', int, 7),
    ('7', float, 7.0),
    ('1e-3', float, 0.001),
    ('7', int | None, 7),
    ('None', int | None, None),
    ('none', float | None, None),
    ('true', bool, True),
    ('False', bool, False),
    ('12', str | None, '12'),
    ('a=b', str, 'a=b'),
    ('(5,6)', tuple[int, int], (5, 6)),
    ('1,2', tuple[int, ...] | None, (1, 2)),
    ('[1, 2]', tuple[int, ...] | None, (1, 2)),
    ('1', tuple[int, ...] | None, (1,)),
    ('()', tuple[int, ...] | None, ()),
    ('1,2', tuple[float, ...], (1.0, 2.0)),
    ('weighed', float | Literal['weighed'], 'weighed'),
    ('1.5', float | Literal['weighed'], 1.5),
  ],
)
def test_text_is_parsed_by_its_type(text, hint, value):
  converted = convert(read(text, hint), hint)
  assert converted == value
  assert type(converted) is type(value)
  if isinstance(value, tuple):
    assert [type(item) for item in converted] == [type(item) for item in value]


@pytest.mark.parametrize(
  ('text', 'hint', 'reason'),
  [
    ('7.5', int, 'must be an int'),
    ('True', int, 'must be an int'),
    ('long', int, 'must be an int'),
    ('deep', float, 'must be a number'),
    ('True', float, 'must be a number'),
    ('1e999', float, 'must be a finite number'),
    ('9' * 400, float, 'must be a finite number'),
    ('7.5', int | None, 'must be an int or None'),
    ('1', bool, 'must be true or false'),
    ('1,2,3', tuple[int, int], 'must be a tuple of 2 ints'),
    ('1.5', tuple[int, ...] | None, 'must be a tuple of ints or None'),
    ('dirct', Literal['direct', 'indirect'], "must be one of direct, indirect; did you mean 'direct'?"),
    ('zzz', Literal['direct', 'indirect'], 'must be one of direct, indirect'),
  ],
)
def test_text_that_does_not_fit_the_type_is_rejected(text, hint, reason):
  with pytest.raises(TypeError) as error:
    convert(read(text, hint), hint)
  assert str(error.value) == reason


def test_types_are_described_in_words():
  assert describe(tuple[str, ...]) == 'a tuple of strings'
  assert describe(float | Literal['weighed'] | None) == 'one of weighed or a number or None'
  assert describe(Sail | None) == 'a section with the keys area, reefs or None'


def test_fields_and_defaults_of_a_dataclass_are_found():
  assert list(type_hints.fields(Boat)) == ['sail', 'name', 'spare', 'crew']
  assert type_hints.defaults(Boat) == {'sail': {}, 'spare': {'area': 1.0, 'reefs': 2}, 'crew': None}
  assert [type_hints.required(field) for field in dataclasses.fields(Boat)] == [True, True, False, False]


def test_the_section_and_the_choices_of_a_type_are_found():
  assert type_hints.section(Sail | None) is Sail
  assert type_hints.section(int | None) is None
  assert type_hints.choices(float | Literal['a', 'b']) == ['a', 'b']
