"""`python -m infformer_jax.main` as a real process on tiny texts, and the files in its work directory."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import chex
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from infformer_jax import paths
from tests.bits import bits

ROOT = pathlib.Path(__file__).parents[1]
STEPS = 30
TIMINGS = (
  'step_seconds',
  'tokens_per_second',
  'tokens_per_second_per_device',
  'data_wait_fraction',
  'peak_device_gib',
)
CHECKPOINT_EVERY = 7
CONFIG = f"""
from infformer_jax.config import config_dict
from infformer_jax.data.text import TextConfig
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig

def get_config():
  memory = ContinuousConfig(num_basis=8, num_samples=16, histogram_bins=16, sampling='random')
  sizes = dict(d_model=16, num_layers=1, num_heads=2, d_ff=16, segment_length=16, short_term_length=16)
  return config_dict(Experiment(
    model=ModelConfig(**sizes, dropout=0.1, memory=memory),
    data=TextConfig(source_dir='TEXTS', tokenizer='bytes'),
    train=TrainConfig(
      num_steps={STEPS}, batch_size=4, segments_per_chunk=3, log_every=4, evaluate_every=10,
      checkpoint_every={CHECKPOINT_EVERY}, optimizer=OptimizerConfig(warmup_steps=5),
    ),
    evaluation=EvaluationConfig(batch_size=2, segments_per_chunk=2),
  ))
"""
WORDS = ('wave', 'river', 'stone', 'light', 'past', 'time', 'segment', 'lane', 'memory', 'of', 'the', 'to')


Workdir = pathlib.Path | epath.Path


class Program:
  """`python -m infformer_jax.main` with texts and a config."""

  def __init__(self, folder: pathlib.Path):
    rng, self.texts = random.Random(0), folder / 'texts'
    for number, words in enumerate((20, 30, 40, 50, 60, 70)):  # About seven steps per epoch.
      text = ' '.join(rng.choice(WORDS) for _ in range(words))
      self.texts.mkdir(exist_ok=True)
      (self.texts / f'{number}.txt').write_text(text)
    self.config = folder / 'tiny.py'
    self.config.write_text(CONFIG.replace('TEXTS', str(self.texts)))
    self._environment = os.environ | {
      'JAX_PLATFORMS': 'cpu',
      'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'XLA_FLAGS': '--xla_backend_optimization_level=0',
    }

  def start(
    self, workdir: Workdir, *flags: str, kilobytes: int | None = None, **environment: str
  ) -> subprocess.Popen:
    """Starts the program. Files are limited to `kilobytes`."""
    command = [sys.executable, '-m', 'infformer_jax.main', f'--config={self.config}', f'--workdir={workdir}']
    limited = ['bash', '-c', f'ulimit -f {kilobytes} && exec "$@"', 'bash'] if kilobytes else []
    return subprocess.Popen(
      [*limited, *command, *flags],
      cwd=ROOT,
      env=self._environment | environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def run(
    self, workdir: Workdir, *flags: str, code: int = 0, kilobytes: int | None = None
  ) -> tuple[str, str]:
    """Runs the program until it ends; returns its stdout and stderr."""
    process = self.start(workdir, *flags, kilobytes=kilobytes)
    out, err = process.communicate()
    # TensorStore says this of the emulated bucket.
    err = '\n'.join(line for line in err.split('\n') if 'Using GOOGLE_AUTH_TOKEN_FOR_TESTING' not in line)
    assert process.returncode == code, f'{out}\n{err}'
    assert code == 0 or err.count('\n') == 1, err  # An error is one line.
    return out, err


def checkpoint_steps(workdir: Workdir) -> list[int]:
  with contextlib.suppress(FileNotFoundError):
    folders = [path for path in (workdir / 'checkpoints').iterdir() if path.name.isdecimal()]
    if not paths.is_local(workdir):
      folders = [path for path in folders if (path / 'commit_success.txt').exists()]
    return sorted(int(path.name) for path in folders)
  return []


def arrays(workdir: Workdir, step: int = STEPS) -> dict[str, np.ndarray]:
  """The arrays of a checkpoint, which may have been saved from more devices than there are here."""
  path = workdir / 'checkpoints' / str(step) / 'state'
  names = ocp.PyTreeCheckpointHandler().metadata(path).tree
  as_numpy = dict.fromkeys(names, ocp.RestoreArgs(restore_type=np.ndarray))
  return ocp.PyTreeCheckpointer().restore(path, restore_args=as_numpy)


def metrics(workdir: Workdir) -> list[dict]:
  """The lines of metrics.jsonl without timings; [] if there are none."""
  with contextlib.suppress(FileNotFoundError):
    lines = (workdir / 'metrics.jsonl').read_text().split('\n')[:-1]
    return [{k: v for k, v in json.loads(line).items() if k not in TIMINGS} for line in lines]
  return []


def results(workdir: Workdir) -> dict:
  return json.loads((workdir / 'results.json').read_text())


def assert_same(workdir: Workdir, undisturbed: Workdir, *, step: int = STEPS) -> None:
  """Asserts equal parameters, optimizer and memory, bit for bit, equal metrics, and equal results."""
  mine, theirs = arrays(workdir, step), arrays(undisturbed, step)
  assert any(name.startswith('memory/') for name in mine)
  chex.assert_trees_all_equal_shapes_and_dtypes(mine, theirs)
  chex.assert_trees_all_equal(bits(mine), bits(theirs))
  assert metrics(workdir) == metrics(undisturbed)
  assert results(workdir) == results(undisturbed)


def kill_when(process: subprocess.Popen, happens) -> None:
  """Sends SIGKILL as soon as `happens()` is true."""
  while not happens():
    assert process.poll() is None, 'the process ended before it could be killed'
    time.sleep(0.0005)
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL


def last_step(workdir: Workdir) -> int:
  lines = metrics(workdir)
  return lines[-1]['step'] if lines else 0
