"""Logits and losses equal those of transformers; needs the extra `parity`."""

import dataclasses

import numpy as np
import pytest

from infformer_jax import pretrained

pytest.importorskip('transformers')
torch = pytest.importorskip('torch')

from tests import toy  # noqa: E402
from tests.parity import cases  # noqa: E402 (it imports transformers)

pytestmark = pytest.mark.slow
TOLERANCE = 1e-4


@pytest.mark.parametrize('name', cases.CASES)
def test_logits_and_losses_equal_those_of_transformers(name, tmp_path):
  """33 tokens are more than four sliding windows, and not a multiple of them."""
  model, ids_bt = cases.write(tmp_path, name), cases.ids(2, 33)
  expected = cases.logits(model, ids_bt)
  logits_btv = np.asarray(pretrained.logits(tmp_path, ids_bt))
  assert np.abs(expected).max() > 1
  np.testing.assert_allclose(logits_btv, expected, rtol=0, atol=TOLERANCE)
  labels = torch.tensor(ids_bt)
  loss = torch.nn.functional.cross_entropy(
    torch.tensor(logits_btv[:, :-1]).flatten(0, 1), labels[:, 1:].flatten()
  )
  with torch.no_grad():
    assert abs(loss - model(labels, labels=labels).loss) < TOLERANCE


@pytest.mark.parametrize(
  ('name', 'segment_length', 'short_term_length'),
  [('gpt2', 8, 32), ('llama3', 10, 30), ('qwen2_sliding', 4, 8)],
)
def test_segments_with_a_window_that_is_long_enough_change_nothing(
  name, segment_length, short_term_length, tmp_path
):
  """Chunks of one segment."""
  model, ids_bt = cases.write(tmp_path, name), cases.ids(2, 40)
  checkpoint = pretrained.Checkpoint(tmp_path)
  config = checkpoint.model_config(segment_length=segment_length, short_term_length=short_term_length)
  trained = checkpoint.load(config, warn=print)  # No window is moved within the first M + l tokens.
  segments = 40 // segment_length
  batch = toy.batch([(40,)] * 2, segments, segment_length)
  batch = dataclasses.replace(batch, tokens_bsl=ids_bt.reshape(2, segments, segment_length))
  hidden_bsld = toy.run(trained.graphdef, trained.params, batch, size=1).hidden_bsld
  logits_bslv = trained.model().vocabulary.logits(hidden_bsld)
  found_btv = np.asarray(logits_bslv).reshape(2, 40, -1)
  np.testing.assert_allclose(found_btv, cases.logits(model, ids_bt), rtol=0, atol=TOLERANCE)
