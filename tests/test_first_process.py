"""The first of two real processes works for both."""

import os
import socket
import subprocess
import sys

import pytest

from infformer_jax import first_process
from infformer_jax.errors import UserError

PROGRAM = """
import sys, time
import jax
from infformer_jax import first_process
from infformer_jax.errors import UnavailableError, UserError

first_process._SECONDS = 0.1
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))

def work():
  time.sleep(0.5)
  print(f'done by {jax.process_index()}', flush=True)

def fail():
  raise UnavailableError('no such book')

first_process.do(work)
print('told', first_process.tell(f'by {jax.process_index()}'))
try:
  first_process.do(fail)
except UserError as error:
  print(error, error.code)
"""


def test_the_first_process_works_alone_and_all_have_its_words_and_errors():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
  started = [
    subprocess.Popen(
      [sys.executable, '-c', PROGRAM, address, str(index)],
      env=environment,
      stdout=subprocess.PIPE,
      text=True,
    )
    for index in range(2)
  ]
  printed = [process.communicate()[0].splitlines() for process in started]
  first, second = ([line for line in lines if '[Gloo]' not in line] for lines in printed)
  assert first == ['done by 0', 'told by 0', 'no such book 75']
  assert second == ['told by 0', 'no such book 75']


def test_a_single_process_works_and_tells_itself():
  assert first_process.tell('x') == 'x'
  done = []
  first_process.do(lambda: done.append(1))
  assert done == [1]

  def fail():
    raise UserError('no such book')

  with pytest.raises(UserError, match='no such book'):
    first_process.do(fail)
