"""Reads a prompt of any length through the memory of a trained model and continues it.

    python -m infformer_jax.generate --workdir=W --prompt_file=book.txt --max_new_tokens=500
    cat book.txt | python -m infformer_jax.generate --workdir=W --prompt_file=-

The prompt is read in constant space, and the generated text enters the memory too. The text goes to standard
output as it is generated, everything else to standard error. Exit codes: 0 finished; 1 stopped, because a
value is not finite; 2 the command line is wrong.
"""

import resource
import sys
import time

import jax
from absl import flags
from etils import epath

from infformer_jax import startup
from infformer_jax.config import command_line
from infformer_jax.config.parsing import Overrides
from infformer_jax.console import Progress
from infformer_jax.data.load import trained_tokenizer
from infformer_jax.data.text_files import decode_utf8, read_utf8
from infformer_jax.errors import ConfigError, UserError, check_range
from infformer_jax.evaluation.generation import Generator, Sampling
from infformer_jax.experiment import Experiment, load_experiment, resolve_experiment
from infformer_jax.train.exits import Stopped
from infformer_jax.trained_model import TrainedModel

flags.adopt_module_key_flags(startup)
_WORKDIR = flags.DEFINE_string('workdir', None, 'the directory of a training run', required=True)
_CONFIG = flags.DEFINE_string(
  'config', None, 'the config file of the run; needed only if it registers a memory or data of its own'
)
_PROMPT_FILE = flags.DEFINE_string(
  'prompt_file', None, 'a UTF-8 text, all of which is read; -: standard input', required=True
)
_MAX_NEW_TOKENS = flags.DEFINE_integer('max_new_tokens', 500, 'the number of tokens to generate')
_TEMPERATURE = flags.DEFINE_float('temperature', 1.0, 'below 1: sharper; 0: greedy; finite')
_TOP_K = flags.DEFINE_integer('top_k', None, 'sample among the k most likely tokens')
_TOP_P = flags.DEFINE_float('top_p', None, 'sample among the most likely tokens with this total probability')
_GREEDY = flags.DEFINE_bool('greedy', False, 'always the most likely token')
_SEED = flags.DEFINE_integer('seed', 0, 'the seed of the samples, from 0 to 2^32 - 1')


def main(overrides: Overrides) -> None:
  """The command line; `overrides` may name the new place of a tokenizer that has moved."""
  temperature = 0.0 if _GREEDY.value else _TEMPERATURE.value
  try:
    sampling = Sampling(temperature=temperature, top_k=_TOP_K.value, top_p=_TOP_P.value)
  except ConfigError as error:
    raise ConfigError(f'--{error}') from None
  check_range('--max_new_tokens', _MAX_NEW_TOKENS.value, 1)
  check_range('--seed', _SEED.value, 0, 2**32 - 1)
  workdir, prompt_file = command_line.path(_WORKDIR), command_line.path(_PROMPT_FILE)
  reads_stdin = _PROMPT_FILE.value == '-'
  if _CONFIG.value:
    load_experiment(_CONFIG.value)  # Registers what the work directory's config names.
  experiment = resolve_experiment(None, overrides, workdir, may_change=())
  text = _standard_input() if reads_stdin else read_utf8(prompt_file)

  startup.prepare()
  try:
    _generate(experiment, workdir, 'standard input' if reads_stdin else str(prompt_file), text, sampling)
  except Stopped as stopped:
    print(f'stopped: {stopped}', file=sys.stderr)
    sys.exit(stopped.code)


def _standard_input() -> str:
  """All of the prompt on standard input."""
  if sys.stdin is None:  # It is closed.
    raise UserError('--prompt_file = - reads standard input, which is closed; give a file')
  if sys.stdin.isatty():
    _say('reading the prompt from the terminal; Ctrl-D on an empty line ends it')
  return decode_utf8(sys.stdin.buffer.read(), 'standard input')


def _generate(
  experiment: Experiment, workdir: epath.Path, source: str, text: str, sampling: Sampling
) -> None:
  tokenizer = trained_tokenizer(experiment.data, workdir)
  trained = TrainedModel.load(workdir, experiment.model, warn=_say)
  generator = Generator(trained, bos_id=tokenizer.bos_id)
  prompt = tokenizer.encode(text)
  _say(f'the model of step {trained.step} reads {source}: {len(prompt):,} tokens')
  began = time.monotonic()
  progress = Progress(_say, 'prompt:', len(prompt), unit='tokens', every=2, after=2, compiles=True)
  logits_bv, opened = generator.read([prompt], progress=progress.update)
  jax.block_until_ready(logits_bv)
  seconds = time.monotonic() - began
  _say(f'read in {seconds:.1f} s ({len(prompt) / seconds:,.0f} tokens/s)')

  began = time.monotonic()
  key = jax.random.key(_SEED.value)
  ids_b = generator.generate(logits_bv, opened, _MAX_NEW_TOKENS.value, sampling, key)
  stream = tokenizer.decode_stream(prompt)
  try:
    for token_b in ids_b:
      sys.stdout.write(stream.step(int(token_b[0])))
      sys.stdout.flush()
  finally:  # The line ends, also where the generation stops early.
    sys.stdout.write(f'{stream.finish()}\n')
    sys.stdout.flush()
  seconds = time.monotonic() - began
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  _say(f'{_MAX_NEW_TOKENS.value} tokens generated in {seconds:.1f} s; peak memory {peak:.2f} GiB')


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
  command_line.run(main)
