"""The commands of docs/pods.md, as a new user types them, with fake tools: each must succeed."""

import re
import subprocess

import pytest

from tests.launch.cloud import ROOT, Cloud

STUB = 'printf "%s\\n" "${0##*/} $*" >>"$CLOUD/typed"'
# These do not end by themselves.
OMITTED = ('tail -f', 'tmux')
VENV = """
mkdir -p .venv/bin
for name in python pip tensorboard; do cp "${0%3}" ".venv/bin/$name"; done
"""
SBATCH = """
until [[ $1 == launch/slurm.sbatch ]]; do [[ $1 != --array=* ]] || export SLURM_ARRAY_TASK_ID=8; shift; done
SLURM_JOB_ID=1 SLURM_GPUS_ON_NODE=8 SLURM_CPUS_PER_TASK=4 exec bash "$@"
"""
PROGRAM = """
import os, sys
with open(os.environ['CLOUD'] + '/trained', 'a') as file:
  print(*sys.argv[1:], file=file)
"""


def sections() -> dict[str, str]:
  """The bash commands below each heading."""
  text = (ROOT / 'docs/pods.md').read_text(encoding='utf-8')
  parts = re.split(r'^#+ (.*)$', text, flags=re.MULTILINE)[1:]
  blocks = {
    heading: '\n'.join(re.findall(r'^```bash\n(.*?)^```', part, re.MULTILINE | re.DOTALL))
    for heading, part in zip(parts[::2], parts[1::2], strict=True)
  }
  return {heading: block for heading, block in blocks.items() if block}


@pytest.fixture
def user(cloud, tmp_path) -> Cloud:
  """The cloud, with fakes of the other programs that the page calls."""
  programs = dict.fromkeys(('ssh-agent', 'ssh-add', 'squeue', 'scancel', 'docker', 'python'), STUB)
  programs |= {'python3': STUB + VENV, 'sbatch': SBATCH, 'srun': 'shift 2\nexec "$@"'}
  for name, text in programs.items():
    Cloud.program(tmp_path / 'bin' / name, text)
  for module in ('main', 'ablate'):
    (cloud.repository / 'infformer_jax' / f'{module}.py').write_text(PROGRAM)
  cloud.commit()
  return cloud


def lines(cloud: Cloud, name: str) -> list[str]:
  path = cloud.folder / name
  return path.read_text().splitlines() if path.exists() else []


def test_all_commands_succeed_in_their_order(user):
  for heading, commands in sections().items():
    kept = '\n'.join(line for line in commands.splitlines() if not line.startswith(OMITTED))
    script = kept.replace('seq 0 8', 'seq 0 0')  # One slice at a time.
    done = subprocess.run(
      ['bash', '-euo', 'pipefail', '-c', script],
      cwd=user.repository,
      env=user.environment,
      capture_output=True,
      text=True,
      check=False,
      timeout=240,
    )
    assert done.returncode == 0, f'{heading}\n{done.stdout}\n{done.stderr}'
  trained = lines(user, 'trained')
  pg19 = '--config=configs/pg19.py --workdir=gs://BUCKET/pg19 --config.data.data_dir=gs://BUCKET/tfds'
  assert trained.count(pg19) == 4  # Twice, on two workers.
  assert len([line for line in trained if '--workdir=gs://BUCKET/sweep' in line]) == 4
  trunk = '--config.init_from=gs://BUCKET/trunk/points/memory=none,seed={seed} --index=0'
  assert len([line for line in trained if line.endswith(trunk)]) == 2
  typed = lines(user, 'typed')
  assert (
    len([line for line in typed if '--workdir=/SHARED/pg19 --config.data.data_dir=/SHARED/tfds' in line]) == 1
  )
  assert len([line for line in typed if line.endswith('data.data_dir=/SHARED/tfds --index=8')]) == 1
  assert len([line for line in typed if '--config=configs/quickstart.py' in line]) == 2
  assert len(user.calls('queued-resources', 'create')) == 2  # pg19, and a sweep after its deletion.
  assert len(user.calls('queued-resources', 'delete')) == 1
