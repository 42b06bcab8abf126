"""Writes a trained model in the format of the Hugging Face ecosystem.

    python -m infformer_jax.export --workdir=W --out=DIR

DIR gets config.json, model.safetensors and the files of the tokenizer, which `transformers` loads as the
model without its memory, and memory.safetensors and memory.json. `--config.init_from=DIR` starts a run from
both. The trunk must be that of GPT-2, Llama or Qwen2. Exit codes: 0 finished; 2 the command line is wrong, or
the model has no such format.
"""

import sys

from absl import flags

from infformer_jax import hub, startup
from infformer_jax.config import command_line
from infformer_jax.config.parsing import Overrides
from infformer_jax.data.load import trained_tokenizer
from infformer_jax.errors import check_range
from infformer_jax.experiment import load_experiment, resolve_experiment
from infformer_jax.pretrained import registry
from infformer_jax.pretrained.save import require_new, save
from infformer_jax.pretrained.settings import Settings
from infformer_jax.trained_model import TrainedModel

flags.adopt_module_key_flags(startup)
_WORKDIR = flags.DEFINE_string('workdir', None, 'the directory of a training run', required=True)
_OUT = flags.DEFINE_string('out', None, 'a new local directory', required=True)
_CONFIG = flags.DEFINE_string(
  'config', None, 'the config file of the run; needed only if it registers a memory or data of its own'
)
_STEP = flags.DEFINE_integer(
  'step', None, 'the step of the checkpoint, such as the best; default: the newest'
)


def main(overrides: Overrides) -> None:
  """The command line; `overrides` may name the new place of a tokenizer that has moved."""
  check_range('--step', _STEP.value, 0)
  workdir = command_line.path(_WORKDIR)
  require_new(_OUT.value, '--out')
  if _CONFIG.value:
    load_experiment(_CONFIG.value)  # Registers what the work directory's config names.
  experiment = resolve_experiment(None, overrides, workdir, may_change=())
  registry.architecture_for(experiment.model)
  tokenizer = trained_tokenizer(experiment.data, workdir)
  kind, _, folder = experiment.data.tokenizer.partition(':')
  like = Settings.read(hub.directory(folder, 'data.tokenizer')) if kind == 'pretrained' else None
  startup.prepare()
  trained = TrainedModel.load(workdir, experiment.model, step=_STEP.value, warn=_say)
  out = save(trained, _OUT.value, tokenizer, like=like, key='--out')
  if not tokenizer.files:
    _say(f"data.tokenizer = '{experiment.data.tokenizer}' has no files that could be exported")
  _say(f'the model of step {trained.step} is in {out}')


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
  command_line.run(main)
