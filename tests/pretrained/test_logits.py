"""The logits of the stored checkpoints are those that transformers has computed (tests/parity/golden.py)."""

import numpy as np
import pytest

from infformer_jax import pretrained
from infformer_jax.errors import ConfigError
from tests.pretrained import golden

TOLERANCE = 1e-4


@pytest.mark.parametrize('name', golden.NAMES)
def test_logits_equal_those_of_transformers(name):
  """The texts are longer than the sliding window of Qwen2, and the files of Llama are bfloat16."""
  folder = golden.FOLDER / name
  case = np.load(folder / 'case.npz')
  logits_btv = pretrained.logits(folder, case['ids'])
  assert logits_btv.dtype == np.float32
  np.testing.assert_allclose(logits_btv, case['logits'], rtol=0, atol=TOLERANCE)


def test_ids_that_the_model_does_not_have_are_refused():
  folder = golden.FOLDER / golden.GPT2
  for ids_bt, message in (
    ([[0, 67]], r'ids must be in \[0, 66\]; they are in \[0, 67\]'),
    ([0, 1], r'integers of the shape \[b, t\], not int64\[2\]'),
    ([[0.0]], 'not float64'),
    (np.zeros((1, 41), int), 'ids have 41 tokens per row, but .* has 40 positions'),
  ):
    with pytest.raises(ConfigError, match=message):
      pretrained.logits(folder, np.asarray(ids_bt))
