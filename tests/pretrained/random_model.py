"""A pretrained model of random parameters with a tokenizer, as a directory."""

import json
import pathlib
from typing import Any

from infformer_jax import pretrained
from infformer_jax.data import tokenizers
from tests import toy
from tests.data import test_pretrained_tokenizer
from tests.pretrained import golden


def write(folder: pathlib.Path, like: str, **changes: Any) -> pathlib.Path:
  """A model with the config.json of a stored one, but 310 rows, for a tokenizer of 302 ids.

  Args:
    folder: new; gets the model in `source`.
    like: one of golden.NAMES.
    changes: of keys of config.json.
  """
  config = json.loads((golden.FOLDER / like / 'config.json').read_text()) | {'vocab_size': 310}
  config |= {'bos_token_id': 300, 'eos_token_id': 301} | changes
  (folder / 'tokenizer').mkdir(parents=True)
  test_pretrained_tokenizer.write(folder / 'tokenizer', config)
  tokenizer = tokenizers.from_spec(f'pretrained:{folder}/tokenizer', folder, list)
  model = pretrained.Checkpoint(folder / 'tokenizer').model_config(
    segment_length=8, short_term_length=8, window='block'
  )
  return pretrained.save(toy.trained(model, vocabulary=310), folder / 'source', tokenizer)
