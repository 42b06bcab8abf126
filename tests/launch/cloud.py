"""A cloud of files and local processes for launch/tpu_vm.sh, with fake `gcloud` and `uv` on the PATH."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
UV = """
echo "$*" >>"$CLOUD/uv"
if [[ $1 == venv ]]; then mkdir -p venv/bin && ln -s {python} venv/bin/python; fi
"""


class Cloud:
  """Runs launch/tpu_vm.sh of a copy of the repository."""

  def __init__(self, folder: pathlib.Path):
    self.folder, self.repository = folder / 'cloud', folder / 'repository'
    bin_ = folder / 'bin'
    for path in (self.folder, self.repository, bin_):
      path.mkdir()
    self.program(bin_ / 'gcloud', f'exec {sys.executable} {ROOT}/tests/launch/fake_gcloud.py "$@"')
    self.program(bin_ / 'uv', UV.format(python=sys.executable))
    self.environment = os.environ | {'CLOUD': str(self.folder), 'PATH': f'{bin_}:{os.environ["PATH"]}'}
    assert shutil.which('gcloud', path=self.environment['PATH']) == str(
      bin_ / 'gcloud'
    )  # Never the real one.
    self.after_create('ACTIVE')
    shutil.copytree(ROOT / 'launch', self.repository / 'launch')
    for name in ('infformer_jax/__init__.py', 'configs/pg19.py'):
      (self.repository / name).parent.mkdir()
      (self.repository / name).touch()
    subprocess.run(['git', 'init', '--quiet', self.repository], check=True)
    self.commit()

  def commit(self) -> None:
    """Commits all files of the repository."""
    git = ['git', '-C', self.repository, '-c', 'user.name=test', '-c', 'user.email=test@example.org']
    for command in (['add', '.'], ['commit', '--quiet', '--message=test']):
      subprocess.run([*git, *command], check=True)

  @staticmethod
  def program(path: pathlib.Path, text: str) -> str:
    path.write_text(f'#!/usr/bin/env bash\nset -e\n{text}\n')
    path.chmod(0o755)
    return str(path)

  def training(self, text: str) -> str:
    """A program in place of the training.

    It has $worker (0 or 1), $attempt (1 for the first start) and `become STATE...`, which sets the states of
    the slice, one per look at it.
    """
    prologue = """
      become() { printf '%s\\n' "$@" >"$CLOUD/next" && mv "$CLOUD/next" "$CLOUD/state"; }
      worker=${HOME##*/}
      echo >>"$CLOUD/attempts-$worker"
      attempt=$(wc -l <"$CLOUD/attempts-$worker")
    """
    return self.program(self.folder / 'train', prologue + text)

  @property
  def attempts(self) -> int:
    """How often the training was started on worker 0."""
    path = self.folder / 'attempts-0'
    return path.read_text().count('\n') if path.exists() else 0

  def after_create(self, *states: str) -> None:
    """The states of a new slice, one per look at it; the last one stays."""
    (self.folder / 'states_after_create').write_text('\n'.join(states))

  def start(self, *arguments: str) -> subprocess.Popen:
    # What a shell runs in the background ignores SIGINT, and so does what that runs.
    return subprocess.Popen(
      ['env', '--default-signal=INT', 'bash', self.repository / 'launch/tpu_vm.sh', *arguments],
      env=self.environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      start_new_session=True,
    )

  def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Runs the script until it ends; returns its stdout and stderr."""
    return self.finish(self.start(*arguments), code)

  def close(self) -> None:
    """Ends the commands that still run on the workers."""
    for script in self.folder.glob('workers/*/infformer_jax/source/launch/tpu_worker.sh'):
      subprocess.run(['bash', script, 'settle', '0'], stdout=subprocess.DEVNULL, check=True)

  @staticmethod
  def finish(process: subprocess.Popen, code: int, seconds: float = 120) -> tuple[str, str]:
    try:
      out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      raise
    assert process.returncode == code, f'{process.returncode}\n{out}\n{err}'
    return out, err

  def calls(self, *words: str) -> list[list[str]]:
    """The arguments of the calls of gcloud that contain these words."""
    path = self.folder / 'calls'
    made = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [call for call in made if set(words) <= set(call)]

  def wait_for(self, name: str) -> None:
    """Waits until a file exists in the folder of the cloud."""
    deadline = time.monotonic() + 120
    while not (self.folder / name).exists():
      assert time.monotonic() < deadline, f'{name} does not appear'
      time.sleep(0.02)
