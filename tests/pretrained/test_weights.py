"""Tensors that are missing, unknown, or of another shape are refused by name; harmless ones are not."""

import numpy as np
import pytest

from infformer_jax.errors import UserError
from infformer_jax.pretrained.checkpoint import Checkpoint
from infformer_jax.train.mesh import make_mesh
from tests.pretrained import golden


def parameters(folder):
  checkpoint = Checkpoint(folder)
  model = checkpoint.model_config(segment_length=8, short_term_length=0)
  return {name: np.asarray(array) for name, array in checkpoint.parameters(model, make_mesh())}


def changed(tmp_path, name, change):
  folder = golden.copy(name, tmp_path / 'model')
  tensors = golden.tensors(folder)
  change(tensors)
  golden.save(folder, tensors)
  return folder


def test_names_without_the_prefix_buffers_and_a_copy_of_a_tied_head_change_nothing(tmp_path):
  expected = parameters(golden.FOLDER / golden.GPT2)

  def change(tensors):
    for name in list(tensors):
      tensors[name.removeprefix('transformer.')] = tensors.pop(name)
    tensors['h.1.attn.bias'] = np.tri(40, dtype=bool)[None, None]
    tensors['h.1.attn.masked_bias'] = np.array(-1e4, np.float32)
    tensors['lm_head.weight'] = tensors['wte.weight']

  found = parameters(changed(tmp_path, golden.GPT2, change))
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda t: t.pop('model.norm.weight'), r'model\.safetensors has no tensor model\.norm\.weight'),
    (lambda t: t.update(score=np.zeros(1)), r"a tensor that the architecture 'llama' does not.*: score"),
    (
      lambda t: t.update({'model.norm.weight': t['model.norm.weight'][:3]}),
      r'model\.norm\.weight is BF16\[3\], but \[16\] by config\.json',
    ),
    (
      lambda t: t.update({'lm_head.weight': t['model.embed_tokens.weight'] + 1}),
      r'lm_head\.weight differs from model\.embed_tokens\.weight, but .* tie_word_embeddings = true',
    ),
  ],
)  # fmt: skip
def test_tensors_that_do_not_fit_config_json_are_refused(tmp_path, change, message):
  with pytest.raises(UserError, match=message):
    parameters(changed(tmp_path, golden.LLAMA, change))
