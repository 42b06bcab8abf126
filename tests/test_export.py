"""A run from a pretrained model, `python -m infformer_jax.export`, and a run from what it has written."""

import io
import json
import subprocess
import sys

import chex
import pytest

from infformer_jax import job, pretrained
from infformer_jax.console import Console
from infformer_jax.data.text import TextConfig
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.train.checkpoint import named_arrays
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig
from tests import toy
from tests.data import test_pretrained_tokenizer
from tests.pretrained import golden, random_model
from tests.program import arrays


@pytest.fixture
def source(tmp_path):
  """Its rows are more than the ids of its tokenizer, and its BOS has another name than the lanes'."""
  return random_model.write(tmp_path, golden.QWEN2, use_sliding_window=False)


def experiment(source, texts, init_from, **optimizer) -> Experiment:
  lengths = {'segment_length': 8, 'short_term_length': 8, 'memory': toy.small('continuous')}
  return Experiment(
    init_from=str(init_from),
    model=pretrained.Checkpoint(source).model_config(**lengths),
    data=TextConfig(source_dir=str(texts), tokenizer=f'pretrained:{source}'),
    train=TrainConfig(num_steps=2, batch_size=2, optimizer=OptimizerConfig(**optimizer)),
    evaluation=EvaluationConfig(batch_size=2),
  )


def train(experiment, workdir) -> str:
  printed = io.StringIO()
  job.train(experiment, workdir, Console(printed))
  return printed.getvalue()


def export(*flags, code=0) -> str:
  command = [sys.executable, '-m', 'infformer_jax.export', *flags]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == code, done.stderr
  return done.stderr


@pytest.mark.slow
def test_a_fine_tuned_model_is_exported_and_starts_another_run(source, tmp_path):
  """A learning rate of almost 0 leaves the parameters of the second run as it has got them."""
  texts = tmp_path / 'texts'
  texts.mkdir()
  for name in ('a', 'b', 'c'):
    (texts / name).write_text(test_pretrained_tokenizer.TEXTS[0])
  printed = train(experiment(source, texts, source, learning_rate=0.01), tmp_path / 'W')
  assert f'starting from the parameters of {source} (qwen2); new parameters: blocks/0/memory/' in printed

  out = tmp_path / 'out'
  said = export(f'--workdir={tmp_path / "W"}', f'--out={out}')
  assert f'the model of step 2 is in {out}' in said
  for name in ('tokenizer.json', 'config.json', 'memory.json', 'memory.safetensors'):
    assert (out / name).exists()
  config = json.loads((out / 'config.json').read_text())
  assert (config['bos_token_id'], config['eos_token_id']) == (300, None)
  trained = {key: array for key, array in arrays(tmp_path / 'W', 2).items() if key.startswith('params/')}
  loaded = named_arrays({'params': pretrained.Checkpoint(out).load().params})
  chex.assert_trees_all_equal(loaded, trained)
  assert 'has files already' in export(f'--workdir={tmp_path / "W"}', f'--out={out}', code=2)

  printed = train(experiment(out, texts, out, learning_rate=1e-30, weight_decay=0), tmp_path / 'W2')
  assert f'starting from the parameters of {out} (qwen2); new parameters: none' in printed
  after = {key: array for key, array in arrays(tmp_path / 'W2', 2).items() if key.startswith('params/')}
  chex.assert_trees_all_close(after, trained, rtol=0, atol=1e-20)
