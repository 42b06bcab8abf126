"""Greedy generation is that of transformers, token for token; needs the extra `parity`."""

import jax
import numpy as np
import pytest

pytest.importorskip('transformers')
torch = pytest.importorskip('torch')

from infformer_jax import pretrained  # noqa: E402
from infformer_jax.evaluation.generation import Generator, Sampling  # noqa: E402
from tests.parity import cases  # noqa: E402

pytestmark = pytest.mark.slow
BOS, PROMPT, NEW = 0, 14, 20


@pytest.mark.parametrize(
  ('name', 'segment_length', 'short_term_length'),
  [
    ('gpt2_by_layer', 40, 0),
    ('smollm2', 8, 40),
    ('llama3', 8, 40),
    ('qwen2', 40, 0),
    ('qwen2_sliding', 8, 8),
  ],
)
def test_the_most_likely_tokens_are_those_of_transformers(name, segment_length, short_term_length, tmp_path):
  """Both keep the keys and values of past tokens; the prompt and the new tokens fill several segments."""
  model, ids_bt = cases.write(tmp_path, name), cases.ids(2, PROMPT)
  inputs_bt = torch.tensor(np.concatenate([np.full((2, 1), BOS), ids_bt], axis=1))
  options = {'do_sample': False, 'use_cache': True, 'eos_token_id': None}
  expected_bt = model.generate(
    inputs_bt, attention_mask=torch.ones_like(inputs_bt), max_new_tokens=NEW, **options
  )
  checkpoint = pretrained.Checkpoint(tmp_path)
  config = checkpoint.model_config(segment_length=segment_length, short_term_length=short_term_length)
  generator = Generator(checkpoint.load(config), bos_id=BOS)
  logits_bv, opened = generator.read(list(ids_bt))
  steps = generator.generate(logits_bv, opened, NEW, Sampling(temperature=0), jax.random.key(0))
  found_bt = np.stack(list(steps), axis=1)
  np.testing.assert_array_equal(found_bt, expected_bt[:, PROMPT + 1 :].numpy())
  assert len(np.unique(found_bt)) > 3
