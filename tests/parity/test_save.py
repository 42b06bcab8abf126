"""transformers loads what is saved, as the model without its memory; needs the extra `parity`."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip('transformers')
torch = pytest.importorskip('torch')

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from infformer_jax import pretrained  # noqa: E402
from infformer_jax.data import tokenizers  # noqa: E402
from infformer_jax.errors import UserError  # noqa: E402
from infformer_jax.pretrained import tensor_files  # noqa: E402
from tests import toy  # noqa: E402
from tests.data.texts import trained_on  # noqa: E402
from tests.parity import cases  # noqa: E402

pytestmark = pytest.mark.slow
TOLERANCE = 1e-4


@pytest.mark.parametrize('name', ['gpt2_by_layer', 'gpt2_erf', 'llama_biases', 'llama3', 'qwen2_sliding'])
def test_the_saved_model_is_the_one_that_was_read(name, tmp_path):
  model, ids_bt = cases.write(tmp_path / 'in', name), cases.ids(2, 33)
  checkpoint = pretrained.Checkpoint(tmp_path / 'in')
  window = {'short_term_length': checkpoint.reach or 0}
  config = checkpoint.model_config(segment_length=8, memory=toy.small('continuous'), **window)
  out = pretrained.save(checkpoint.load(config), tmp_path / 'out', like=checkpoint.settings)
  saved, report = AutoModelForCausalLM.from_pretrained(
    out, attn_implementation='eager', output_loading_info=True
  )
  assert not any(report[kind] for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys'))
  np.testing.assert_allclose(cases.logits(saved, ids_bt), cases.logits(model, ids_bt), rtol=0, atol=TOLERANCE)
  logits_btv = np.asarray(pretrained.logits(out, ids_bt))
  np.testing.assert_allclose(logits_btv, cases.logits(model, ids_bt), rtol=0, atol=TOLERANCE)
  assert saved.config.bos_token_id == 0
  if name == 'qwen2_sliding':
    assert saved.config.layer_types == ['sliding_attention'] * 2


def test_the_saved_tokenizer_gives_the_same_ids(tmp_path):
  text = "the quick brown fox\n  don't é漢"
  tokenizer = tokenizers.from_spec('bpe:300', tmp_path, trained_on(['the quick brown fox\n' * 9]))
  cases.write(tmp_path / 'in', 'llama', vocab_size=tokenizer.vocab_size)
  checkpoint = pretrained.Checkpoint(tmp_path / 'in')
  trained = checkpoint.load(checkpoint.model_config(segment_length=8, short_term_length=0))
  out = pretrained.save(trained, tmp_path / 'out', tokenizer)
  assert AutoConfig.from_pretrained(out).bos_token_id == tokenizer.bos_id
  expected = tokenizer.encode(text).tolist()
  assert AutoTokenizer.from_pretrained(out)(text, add_special_tokens=False)['input_ids'] == expected
  again = tokenizers.from_spec(f'pretrained:{out}', tmp_path, trained_on([]))
  assert again.encode(text).tolist() == expected
  assert (again.vocab_size, again.bos_id) == (tokenizer.vocab_size, tokenizer.bos_id)


def test_the_command_that_converts_a_pickle_does_so(tmp_path):
  model = cases.write(tmp_path, 'gpt2')
  (tmp_path / 'model.safetensors').unlink()
  torch.save(model.state_dict(), tmp_path / 'pytorch_model.bin')
  with pytest.raises(UserError) as error:
    tensor_files.open_folder(tmp_path)
  program = str(error.value).partition("python -c '")[2].removesuffix("'")
  exec(program, {})
  ids_bt = cases.ids(1, 9)
  logits_btv = np.asarray(pretrained.logits(tmp_path, ids_bt))
  np.testing.assert_allclose(logits_btv, cases.logits(model, ids_bt), rtol=0, atol=TOLERANCE)


def test_shards_of_transformers_are_read(tmp_path):
  model = cases.write(tmp_path / 'one', 'qwen2')
  model.save_pretrained(tmp_path / 'shards', max_shard_size='10KB')
  assert len(list((tmp_path / 'shards').glob('model-*.safetensors'))) > 2
  configs = []
  for folder in ('one', 'shards'):
    checkpoint = pretrained.Checkpoint(tmp_path / folder)
    configs.append(checkpoint.model_config(segment_length=8, short_term_length=8))
    checkpoint.require_fit(dataclasses.replace(configs[-1], dropout=0.1), cases.VOCABULARY)
  assert configs[0] == configs[1]
