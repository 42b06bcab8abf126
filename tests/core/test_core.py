"""core/ as a whole: its table of equations."""

import functools
import importlib
import pathlib
import re

import pytest

from infformer_jax import core

MODULES = sorted(
  path.stem for path in pathlib.Path(core.__file__).parent.glob('*.py') if path.stem != '__init__'
)
NAMED = sorted(set(re.findall(rf'\b(?:{"|".join(MODULES)})(?:\.\w+)+', core.__doc__)))


def test_the_table_names_the_functions_of_every_paper():
  assert len(NAMED) > 25


@pytest.mark.parametrize('name', NAMED)
def test_every_function_of_the_table_exists(name):
  module, *attributes = name.split('.')
  found = functools.reduce(getattr, attributes, importlib.import_module(f'infformer_jax.core.{module}'))
  assert callable(found)
  assert found.__doc__


@pytest.mark.parametrize('module', MODULES)
def test_every_module_has_its_tests(module):
  assert pathlib.Path(__file__).with_name(f'test_{module}.py').is_file()
