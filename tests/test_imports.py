"""Imports run one way, and each library is used where DESIGN says: the parts stay replaceable."""

import ast
import pathlib
import subprocess
import sys

import pytest

import infformer_jax

PACKAGE = pathlib.Path(infformer_jax.__file__).parent
FILES = sorted(PACKAGE.rglob('*.py'))

# What each part may import of the package, besides itself. A longer name is a part of its own.
BASE = ('types', 'errors')
MODEL = (*BASE, 'core', 'memory', 'nn')
HOST = ('files', 'console')  # What programs share that has nothing to do with models.
WRITTEN = ('records', 'results_schema')  # What programs write for each other.
MAY_IMPORT = {
  '': (),  # the package's lazy __init__
  'types': ('core.pytree',),
  'errors': (),
  'files': (),
  'console': (),
  'text_table': (),
  'records': ('errors', 'files'),
  'config': ('errors',),
  'core': ('errors',),
  'memory': (*BASE, 'core'),
  'nn': (*BASE, 'core', 'memory'),
  'train': (*MODEL, *HOST),
  'data': (*BASE, *HOST, 'core'),
  'results_schema': (),
  'trained_model': (*MODEL, 'config', 'train'),
  'evaluation': (*MODEL, *HOST, *WRITTEN, 'text_table', 'data', 'trained_model', 'train.sharding'),
  'ablation': (
    *('errors', *HOST, 'results_schema', 'text_table'),
    *('trained_model', 'data', 'evaluation', 'experiment', 'job'),
  ),
  'plotting': ('files', *WRITTEN),
}
COMMAND_LINES = (
  'main',
  'generate',
  'ablate',
  'plot',
  'job',
  'experiment',
  'startup',
)  # They may import everything.


def part_of(path: pathlib.Path) -> str:
  return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('__init__').rstrip('.')


def imports(path: pathlib.Path) -> set[str]:
  """Every dotted name that the file imports, in functions too: 'from a import b' gives 'a.b'."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: relative imports hide the direction'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


def starts_with(name: str, prefixes: tuple[str, ...]) -> bool:
  return any(name == prefix or name.startswith(prefix + '.') for prefix in prefixes)


@pytest.mark.parametrize('path', FILES, ids=part_of)
def test_parts_import_one_way(path):
  part = part_of(path)
  if starts_with(part, COMMAND_LINES):
    return
  home = part.split('.')[0]
  assert home in MAY_IMPORT, f'{part}: say in MAY_IMPORT what it may import'
  inside = [n.removeprefix('infformer_jax.') for n in imports(path) if n.startswith('infformer_jax.')]
  assert [n for n in inside if not starts_with(n, (*MAY_IMPORT[home], home))] == []


@pytest.mark.parametrize('path', FILES, ids=part_of)
def test_libraries_stay_where_they_belong(path):
  part = part_of(path)
  outside = {n for n in imports(path) if n.split('.')[0] not in sys.stdlib_module_names}
  outside = {n for n in outside if not starts_with(n, ('infformer_jax',))}
  only = {'core': ('numpy', 'jax', 'jaxtyping'), 'plotting': ('numpy', 'matplotlib')}
  home = part.split('.')[0]
  if home in only:
    assert {n for n in outside if not starts_with(n, only[home])} == set()
  for library, place in {
    'matplotlib': 'plotting',
    'flax.linen': 'nn.linen',
    'grain': 'data.lanes',
    'orbax': 'train.checkpoint',
    'tensorflow': 'nowhere',
    'torch': 'nowhere',
  }.items():
    if not starts_with(part, (place,)):
      assert {n for n in outside if starts_with(n, (library,))} == set()


def test_importing_the_package_imports_no_jax():
  heavy = 'jax', 'flax', 'numpy', 'matplotlib', 'grain', 'orbax'
  program = f'import sys, infformer_jax; print([m for m in {heavy} if m in sys.modules])'
  done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == '[]'


def loaded_by(program: str) -> set[str]:
  """The modules in a fresh process after the program."""
  program += '; import sys; print(*sys.modules)'
  done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
  return set(done.stdout.split())


def test_core_loads_only_jax_and_the_errors():
  """Including what its imports import."""
  core = [part_of(path) for path in FILES if starts_with(part_of(path), ('core',))]
  loaded = loaded_by('; '.join(f'import infformer_jax.{part}' for part in core))
  inside = {name.removeprefix('infformer_jax.') for name in loaded if name.startswith('infformer_jax.')}
  assert inside == {*core, 'errors'}
  allowed = loaded_by('import numpy, jax, jax.numpy, jax.scipy, jaxtyping')
  outside = {name.split('.')[0] for name in loaded - allowed} - {'infformer_jax', *sys.stdlib_module_names}
  assert outside <= {name.split('.')[0] for name in allowed}


@pytest.mark.parametrize('name', infformer_jax.__all__)
def test_every_public_name_is_there(name):
  assert getattr(infformer_jax, name) is not None
  assert name in dir(infformer_jax)


def test_a_layer_of_a_users_own_finds_what_memories_answer_and_every_part_of_the_mathematics():
  modules = {path.stem for path in (PACKAGE / 'core').glob('*.py')} - {'__init__'}
  assert {'Read', 'Slots', 'Gated', *modules} <= set(infformer_jax.__all__)


def test_an_unknown_name_says_what_there_is():
  with pytest.raises(AttributeError, match='Transformer'):
    _ = infformer_jax.Transfromer
