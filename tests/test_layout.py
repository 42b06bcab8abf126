"""The layout of the repository: tests mirror the package, and files are short."""

import pathlib

import pytest

import infformer_jax

PACKAGE = pathlib.Path(infformer_jax.__file__).parent
ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob('*.py') if path.name != '__init__.py')
MAX_LINES = 250


@pytest.mark.parametrize('module', MODULES, ids=str)
def test_every_module_has_a_test_file_of_the_same_name(module):
  tests = ROOT / 'tests' / module.with_name(f'test_{module.name}')
  assert tests.is_file(), f'the tests of infformer_jax/{module} belong in {tests.relative_to(ROOT)}'


def test_no_file_has_more_than_250_lines():
  files = [path for folder in ('infformer_jax', 'configs', 'tests') for path in (ROOT / folder).rglob('*.py')]
  files += [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md'), *(ROOT / 'launch').iterdir()]
  lines = {str(path.relative_to(ROOT)): path.read_text(encoding='utf-8').count('\n') for path in files}
  assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}
