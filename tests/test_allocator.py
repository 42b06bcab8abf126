"""Memory that is kept between the steps."""

import os
import subprocess
import sys

import pytest

from infformer_jax import allocator

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from infformer_jax import allocator
if sys.argv[1] == 'keep':
  allocator.keep_freed_memory()
step = jax.jit(lambda x: jnp.outer(x, x) @ x)  # A buffer of 64 MiB.
x = jnp.ones(4096)
step(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
  step(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
  environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
  command = [sys.executable, '-c', PROGRAM, how]
  return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc')
def test_the_buffers_of_a_program_are_used_again_by_its_next_call():
  assert page_faults('keep') < page_faults('return') / 2


@pytest.mark.parametrize(
  ('platforms', 'installed', 'expected'),
  [
    (None, set(), True),
    (None, {'libtpu'}, False),
    (None, {'jax_plugins'}, False),
    ('cpu', {'jax_plugins'}, True),
    ('cuda', {'jax_plugins'}, False),
  ],
)
def test_only_cpus(monkeypatch, platforms, installed, expected):
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  if platforms:
    monkeypatch.setenv('JAX_PLATFORMS', platforms)
  monkeypatch.setattr('importlib.util.find_spec', lambda name: name if name in installed else None)
  assert allocator.only_cpus() is expected
