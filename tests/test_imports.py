"""Imports between parts have one direction, and each library is used only in certain parts."""

import ast
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import infformer_jax

PACKAGE = pathlib.Path(infformer_jax.__file__).parent
FILES = sorted(PACKAGE.rglob('*.py'))

# The parts of the package that each part may import besides itself. The longest matching name applies.
BASE = ('types', 'errors')
MODEL = (*BASE, 'core', 'memory', 'nn')
HOST = (
  'paths',
  'objects',
  'files',
  'lease',
  'lock',
  'console',
  'first_process',
  'hub',
)  # Shared by programs, independent of models.
WRITTEN = ('records', 'results_schema')  # Schemas of files that programs exchange.
MAY_IMPORT = {
  'types': ('core.pytree',),
  'errors': (),
  'allocator': (),
  'paths': ('errors',),
  'objects': ('paths',),
  'patient_gcs': (),
  'files': ('errors', 'objects', 'paths'),
  'lease': ('files', 'objects', 'paths'),
  'lock': ('files', 'lease', 'paths'),
  'console': (),
  'first_process': ('errors',),
  'hub': ('errors', 'paths', 'first_process'),
  'text_table': (),
  'records': ('errors', 'paths', 'files'),
  'config': ('errors', 'paths'),
  'core': ('errors',),
  'memory': (*BASE, 'core'),
  'nn': (*BASE, 'core', 'memory'),
  'train': (*MODEL, *HOST),
  'data': (*BASE, *HOST, 'core'),
  'results_schema': (),
  'trained_model': (*MODEL, 'paths', 'config', 'train'),
  'pretrained': (*MODEL, *HOST, 'config', 'data.folders', 'data.tokenizer', 'train', 'trained_model'),
  'run_warnings': ('config', 'core', 'data', 'experiment', 'memory', 'train'),
  'evaluation': (
    *(*MODEL, *HOST, *WRITTEN, 'text_table', 'data', 'trained_model'),
    *('train.exits', 'train.mesh', 'train.parameter_groups', 'train.sharding'),
  ),
  'ablation': (
    *('errors', *HOST, 'results_schema', 'text_table'),
    *('trained_model', 'data', 'evaluation', 'experiment', 'job'),
  ),
  'plotting': ('errors', 'paths', 'files', *WRITTEN),
}
COMMAND_LINES = (
  'main',
  'generate',
  'ablate',
  'plot',
  'job',
  'resume',
  'initial',
  'export',
  'experiment',
  'startup',
)  # These may import all parts.


def part_of(path: pathlib.Path) -> str:
  return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('__init__').rstrip('.')


def imports(path: pathlib.Path) -> set[str]:
  """All dotted names that the file imports, also in functions; 'from a import b' gives 'a.b'."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: use absolute imports'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


def starts_with(name: str, prefixes: tuple[str, ...]) -> bool:
  return any(name == prefix or name.startswith(prefix + '.') for prefix in prefixes)


@pytest.mark.parametrize('path', FILES, ids=part_of)
def test_parts_import_only_allowed_parts(path):
  part = part_of(path)
  if part == '' or starts_with(part, COMMAND_LINES):  # The package's __init__ has names of all parts.
    return
  home = part.split('.')[0]
  assert home in MAY_IMPORT, f'{part}: add its allowed imports to MAY_IMPORT'
  inside = [n.removeprefix('infformer_jax.') for n in imports(path) if n.startswith('infformer_jax.')]
  assert [n for n in inside if not starts_with(n, (*MAY_IMPORT[home], home))] == []


@pytest.mark.parametrize('path', FILES, ids=part_of)
def test_libraries_are_imported_only_in_their_parts(path):
  part = part_of(path)
  outside = {n for n in imports(path) if n.split('.')[0] not in sys.stdlib_module_names}
  outside = {n for n in outside if not starts_with(n, ('infformer_jax',))}
  only = {'core': ('numpy', 'jax', 'jaxtyping'), 'plotting': ('numpy', 'matplotlib', 'etils.epath')}
  home = part.split('.')[0]
  if home in only:
    assert {n for n in outside if not starts_with(n, only[home])} == set()
  for library, place in {
    'matplotlib': 'plotting',
    'flax.linen': 'nn.linen',
    'grain': 'data.lanes',
    'orbax': 'train.checkpoint',
    'safetensors': 'pretrained.tensor_files',
    'huggingface_hub': 'hub',
    'tensorflow': 'nowhere',
    'transformers': 'nowhere',
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
  """The modules that are loaded in a new process after the program."""
  program += '; import sys; print(*sys.modules)'
  done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
  return set(done.stdout.split())


def test_core_loads_only_jax_and_the_errors():
  """Including indirect imports."""
  core = [part_of(path) for path in FILES if starts_with(part_of(path), ('core',))]
  loaded = loaded_by('; '.join(f'import infformer_jax.{part}' for part in core))
  inside = {name.removeprefix('infformer_jax.') for name in loaded if name.startswith('infformer_jax.')}
  assert inside == {*core, 'errors'}
  allowed = loaded_by('import numpy, jax, jax.numpy, jax.scipy, jaxtyping')
  outside = {name.split('.')[0] for name in loaded - allowed} - {'infformer_jax', *sys.stdlib_module_names}
  assert outside <= {name.split('.')[0] for name in allowed}


@pytest.mark.parametrize('name', infformer_jax.__all__)
def test_every_public_name_can_be_imported(name):
  assert getattr(infformer_jax, name) is not None
  assert name in dir(infformer_jax)


def test_type_checkers_see_the_public_names():
  tree = ast.parse((PACKAGE / '__init__.py').read_text(encoding='utf-8'))
  for_types = next(node for node in tree.body if isinstance(node, ast.If))
  seen = {}
  for node in for_types.body:
    for alias in node.names:
      assert alias.asname == alias.name, 'only `import name as name` exports a name to type checkers'
      seen[alias.name] = f'{node.module}.{alias.name}'
  assert sorted(seen) == infformer_jax.__all__
  for name, path in seen.items():
    assert pkgutil.resolve_name(path) is getattr(infformer_jax, name)


def test_custom_layers_can_import_the_types_of_memories_and_all_modules_of_core():
  modules = {path.stem for path in (PACKAGE / 'core').glob('*.py')} - {'__init__'}
  assert {'Read', 'Slots', 'Gated', *modules} <= set(infformer_jax.__all__)


def test_an_unknown_name_is_an_error_with_the_available_names():
  with pytest.raises(AttributeError, match='Transformer'):
    _ = infformer_jax.Transfromer
