"""A real training on the two hosts of a fake slice, which is preempted and created again."""

import os
import shutil
import socket
import sys
import time

import pytest

from tests.launch.cloud import ROOT, Cloud
from tests.program import STEPS, Program, checkpoint_steps, metrics, results

PYTHON = """
if [[ $1 == venv ]]; then
  mkdir -p venv/bin
  printf '#!/bin/bash\\nexec {python} "$@"\\n' >venv/bin/python
  chmod +x venv/bin/python
fi
"""
# Hosts of a slice find each other through the metadata of their machines.
ON_EVERY_HOST = ('bash', '-c', 'JAX_PROCESS_ID=${HOME##*/} exec python -m infformer_jax.main "$@"', 'main')


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_training_of_two_hosts_resumes_after_a_preemption(cloud, tmp_path):
  program, workdir = Program(tmp_path), tmp_path / 'work'
  Cloud.program(tmp_path / 'bin' / 'uv', PYTHON.format(python=sys.executable))
  ignored = shutil.ignore_patterns('__pycache__')
  shutil.copytree(
    ROOT / 'infformer_jax', cloud.repository / 'infformer_jax', ignore=ignored, dirs_exist_ok=True
  )
  cloud.commit()
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  cloud.environment |= {'JAX_COORDINATOR_ADDRESS': address, 'JAX_NUM_PROCESSES': '2', 'JAX_PLATFORMS': 'cpu'}

  flags = (f'--config={program.config}', f'--workdir={workdir}')
  process = cloud.start(
    *('run', 'pg19', '--accelerator_type=v4-16', '--spot', '--poll_seconds=1', '--'), *ON_EVERY_HOST, *flags
  )
  while not checkpoint_steps(workdir):
    assert process.poll() is None, process.communicate()
    time.sleep(0.1)
  (cloud.folder / 'next').write_text('SUSPENDED')
  os.replace(cloud.folder / 'next', cloud.folder / 'state')
  out, _ = cloud.finish(process, code=0, seconds=600)

  assert len(cloud.calls('create')) == 2
  assert out.count('\nresuming from checkpoint ') == 1
  assert results(workdir)['step'] == STEPS
  steps = [(line['step'], line['split']) for line in metrics(workdir)]
  assert len(steps) == len(set(steps))
