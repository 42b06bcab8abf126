"""The compilation cache of the command lines, and the threads of their devices."""

import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = """
import jax, sys
from absl import flags
from infformer_jax import startup
flags.FLAGS(['program', *sys.argv[1:]])
startup.prepare()
compiled = jax.jit(lambda x: x @ x + 1).lower(jax.ShapeDtypeStruct((3, 3), 'float32')).compile()
print(compiled(jax.numpy.ones((3, 3)))[0, 0])
"""

THREADS = """
import jax, os, sys
from absl import flags
from infformer_jax import startup
flags.FLAGS(['program', '--nocompilation_cache'])
startup.prepare()
print(os.environ.get('NPROC'), jax.device_count(), len(os.listdir('/proc/self/task')))
"""


def run(*flags: str, **environment: str | pathlib.Path) -> str:
  """Compiles a function in a separate process; returns its standard error."""
  inherited = {name: value for name, value in os.environ.items() if 'CACHE' not in name}
  variables = inherited | {'JAX_PLATFORMS': 'cpu', 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}
  command = [sys.executable, '-c', PROGRAM, *flags]
  environment = variables | {name: str(value) for name, value in environment.items()}
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
  assert done.stdout == '4.0\n'
  return done.stderr


def entries(folder: pathlib.Path) -> list[str]:
  """Names of the cache entries without the hash, which depends on the folder."""
  return sorted(path.name.partition('-')[0] for path in folder.rglob('*-cache'))


def test_compiled_programs_are_kept_under_the_users_cache(tmp_path):
  assert run(XDG_CACHE_HOME=tmp_path / 'xdg') == ''
  first = entries(tmp_path / 'xdg' / 'infformer_jax' / 'compiled')
  assert 'jit__lambda' in first
  assert run(HOME=tmp_path / 'home') == ''
  assert entries(tmp_path / 'home' / '.cache' / 'infformer_jax' / 'compiled') == first


def test_the_environment_variable_of_jax_has_precedence_and_a_flag_disables_the_cache(tmp_path):
  environment = {'XDG_CACHE_HOME': tmp_path / 'xdg', 'JAX_COMPILATION_CACHE_DIR': tmp_path / 'own'}
  assert run('--nocompilation_cache', **environment) == ''
  assert entries(tmp_path) == []
  assert run(**environment) == ''
  assert entries(tmp_path / 'own') == entries(tmp_path) != []


def test_a_directory_that_cannot_be_created_causes_a_warning(tmp_path):
  (tmp_path / 'file').write_text('')
  err = run(XDG_CACHE_HOME=tmp_path / 'file')
  assert err.startswith(f'warning: no compilation cache in {tmp_path}/file/')
  assert err.count('\n') == 1


@pytest.mark.parametrize('damage', [b'', b'not a program'])
def test_a_damaged_entry_causes_a_warning(tmp_path, damage):
  run(XDG_CACHE_HOME=tmp_path)
  for path in tmp_path.rglob('*-cache'):
    path.write_bytes(damage)
  assert 'UserWarning' in run(XDG_CACHE_HOME=tmp_path)


def threads(**environment: str) -> tuple[str, int, int]:
  """$NPROC, devices and threads of a process on a CPU."""
  inherited = {name: value for name, value in os.environ.items() if name not in ('NPROC', 'XLA_FLAGS')}
  variables = inherited | {'JAX_PLATFORMS': 'cpu'} | environment
  done = subprocess.run(
    [sys.executable, '-c', THREADS], env=variables, capture_output=True, text=True, check=True
  )
  size, devices, count = done.stdout.split()
  return size, int(devices), int(count)


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='threads are counted by Linux')
@pytest.mark.parametrize(
  ('environment', 'devices'),
  [
    ({'XLA_FLAGS': '--xla_force_host_platform_device_count=8 --xla_force_host_platform_device_count=4'}, 4),
    ({'JAX_NUM_CPU_DEVICES': '3', 'XLA_FLAGS': '--xla_force_host_platform_device_count=8'}, 3),
  ],
)
def test_several_devices_of_a_cpu_have_enough_threads_for_collectives_that_wait(environment, devices):
  size, found, count = threads(**environment)
  assert (size, found) == (str(16 * devices), devices)
  assert count > 16 * devices


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='threads are counted by Linux')
def test_one_device_and_a_given_number_of_threads_remain():
  assert threads()[:2] == ('None', 1)
  flags = '--xla_force_host_platform_device_count=4'
  size, found, count = threads(XLA_FLAGS=flags, NPROC='7')
  assert (size, found) == ('7', 4)
  assert count < 4 * 16


def test_a_platform_that_is_not_there_is_one_line(tmp_path):
  flags = '--config=configs/quickstart.py', f'--workdir={tmp_path / "W"}'
  command = [sys.executable, '-m', 'infformer_jax.main', *flags]
  environment = os.environ | {'JAX_PLATFORMS': 'nosuch', 'XDG_CACHE_HOME': str(tmp_path)}
  root = pathlib.Path(__file__).parents[1]
  done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
  assert done.returncode == 2
  assert done.stderr.startswith("error: $JAX_PLATFORMS = 'nosuch': Unable to initialize backend 'nosuch'")
  assert done.stderr.count('\n') == 1
