"""Logits and losses equal those of transformers; needs the extra `parity`."""

import numpy as np
import pytest

from infformer_jax import pretrained

pytest.importorskip('transformers')
torch = pytest.importorskip('torch')

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
