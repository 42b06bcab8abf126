"""`python -m infformer_jax.generate`: the text of generated tokens, and what the command line refuses."""

import numpy as np
import pytest

from infformer_jax.data.tokenizers import Bytes
from infformer_jax.generate import decoded
from tests.config.test_command_line import refusal


def test_a_character_is_decoded_when_it_is_complete():
  tokenizer = Bytes()
  text = 'naïve Größe, 語 and 🙂.'
  pieces = list(decoded(tokenizer.encode(text), tokenizer, tokenizer.encode('before ')))
  assert ''.join(pieces) == text
  assert {'ï', '語', '🙂'} <= set(pieces)


def test_bytes_that_are_no_text_are_decoded_too():
  tokenizer = Bytes()
  pieces = list(decoded([0xFF] * 9 + [ord('a')], tokenizer, np.zeros(0, np.int32)))
  assert len(pieces) > 2
  assert ''.join(pieces).endswith('a')


@pytest.mark.parametrize(
  ('flags', 'line'),
  [
    ([], '--prompt_file is missing: a UTF-8 text'),
    (['--prompt_file=FOLDER/none', '--max_new_tokens=0'], '--max_new_tokens = 0 is not positive'),
    (['--prompt_file=FOLDER/none', '--temperature=-1'], 'temperature = -1.0 is negative; 0 is greedy'),
    (
      ['--prompt_file=FOLDER/none'],
      'FOLDER/config.json does not exist; use the work directory of a training',
    ),
  ],
)
def test_what_cannot_be_generated_is_one_line(tmp_path, flags, line):
  flags, line = (text.replace('FOLDER', str(tmp_path)) for text in ('|'.join(flags), line))
  command = ('-m', 'infformer_jax.generate', f'--workdir={tmp_path}', *filter(None, flags.split('|')))
  assert refusal(*command).startswith(line)
