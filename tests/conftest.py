"""Settings and fixtures that all tests share."""

import os
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # Tolerances hold for float32 on CPUs, not on accelerators.
# Programs are tiny, and compiling them takes most of the time.
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --xla_backend_optimization_level=0'.strip()
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:  # Command lines would otherwise use the user's cache.
  _compiled = tempfile.TemporaryDirectory()
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _compiled.name
  # Test files, workers and child processes compile the same small programs.
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')

import jax
import pytest


@pytest.fixture(autouse=True, scope='module')
def _compiled_programs_are_freed():
  """Hundreds of compiled programs in one process exhaust its memory mappings."""
  yield
  jax.clear_caches()


@pytest.fixture(autouse=True, scope='session')
def _tokens_stay_out_of_the_cache_of_the_user(tmp_path_factory):
  os.environ['XDG_CACHE_HOME'] = str(tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='session')
def bucket():
  """An emulated gs://bucket, for this process and those that it starts; see tests/bucket.py."""
  from tests.bucket import Bucket

  emulated = Bucket()
  os.environ.update(emulated.environment)
  yield emulated
  emulated.stop()


@pytest.fixture(scope='module')
def undisturbed(program, tmp_path_factory):
  """The work directory of an uninterrupted run, on a disk, of the `program` that a test file defines."""
  workdir = tmp_path_factory.mktemp('undisturbed') / 'work'
  program.run(workdir)
  return workdir


@pytest.fixture(params=['disk', 'bucket'])
def place(request, tmp_path):
  """An empty folder, once on a disk and once in a bucket, as a path of the package."""
  from infformer_jax import paths

  if request.param == 'disk':
    return paths.parse(str(tmp_path), 'place')
  request.getfixturevalue('bucket')
  return paths.parse(f'gs://bucket{tmp_path}', 'place')


_LONG = (
  'main',
  'bucket',
  'ablate',
  'sharding',
  'readme',
  'job',
  'generate',
  'registry',
  'configs',
  'plot',
  'open_segment',
)


def pytest_collection_modifyitems(items):
  """Files that take long, most of which start programs, come first: one at the end would run on one core."""
  first = {f'test_{name}.py': place for place, name in enumerate(_LONG)}
  items.sort(key=lambda item: first.get(item.path.name, len(first)))
