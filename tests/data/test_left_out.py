"""What is said about files that are not part of the data."""

import os

from infformer_jax.data.left_out import counted, described


def test_every_reason_has_its_count_and_its_first_names():
  left_out = {'hidden': list('abcde'), 'dangling link': ['more']}
  assert described(left_out) == ' (left out: 5 hidden: a, b, c, ...; 1 dangling link: more)'
  assert counted(left_out) == {
    'hidden': {'count': 5, 'first': ['a', 'b', 'c']},
    'dangling link': {'count': 1, 'first': ['more']},
  }
  assert described({}) == ''


def test_names_that_are_not_utf8_can_be_printed():
  name = os.fsdecode(b'.caf\xe9')
  assert described({'hidden': [name]}) == ' (left out: 1 hidden: .caf\\xe9)'
  assert counted({'hidden': [name]})['hidden']['first'] == ['.caf\\xe9']
