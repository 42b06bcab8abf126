"""Tokenizers from the directories of pretrained models."""

import json
import pathlib

import numpy as np
import pytest
import tokenizers as library
from tokenizers import models, processors

from infformer_jax.data import byte_pairs, pretrained_tokenizer, tokenizers
from infformer_jax.errors import UserError
from tests.data.texts import trained_on

TEXTS = ['the quick brown fox jumps over the lazy dog\n' * 20, "hello world, don't  stop\n" * 20]
START, END = '<|begin|>', '<|end|>'


def write(folder: pathlib.Path, config: dict, **changes) -> list[str]:
  """A byte-level BPE of 300 pieces and two special tokens, which adds BOS, cuts and pads; its pieces."""
  bpe = library.Tokenizer.from_str(byte_pairs.train(300, TEXTS))
  bpe.add_special_tokens([START, END])
  bpe.post_processor = processors.TemplateProcessing(
    single=f'{START} $A', special_tokens=[(START, bpe.token_to_id(START))]
  )
  bpe.enable_truncation(4)
  bpe.enable_padding(length=7)
  bpe.save(str(folder / 'tokenizer.json'))
  write_config(folder, **config)
  return sorted(bpe.get_vocab(), key=bpe.get_vocab().get)


def write_config(folder, **config):
  (folder / 'config.json').write_text(json.dumps(config))


def load(folder):
  return tokenizers.from_spec(f'pretrained:{folder}', folder, trained_on([]))


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
  write(tmp_path, {'model_type': 'llama', 'vocab_size': 310, 'bos_token_id': 300, 'eos_token_id': 301})
  return tmp_path


def test_texts_are_neither_cut_nor_padded_and_get_no_bos(folder):
  tokenizer = load(folder)
  assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.lossless) == (310, 300, True)
  text = f"the fox\n\n don't{END} é漢 hello"
  ids = tokenizer.encode(text)
  assert ids.dtype == np.int32
  assert len(ids) > 7
  assert tokenizer.bos_id not in ids
  assert (ids == 301).sum() == 1  # As transformers, which parses the texts of special tokens.
  assert tokenizer.decode(ids) == text
  assert tokenizer.decode([300, *ids, 305]) == text  # A row without a token has no text.
  for text, ids in zip(TEXTS, tokenizer.encode_batch(TEXTS), strict=True):
    assert tokenizer.decode(ids) == text
  assert len(tokenizer.encode('')) == 0


def test_eos_starts_documents_where_there_is_no_bos(folder):
  write_config(folder, model_type='qwen2', vocab_size=302, bos_token_id=None, eos_token_id=[301, 300])
  tokenizer = load(folder)
  assert (tokenizer.vocab_size, tokenizer.bos_id) == (302, 301)


def test_the_identity_is_that_of_what_determines_the_ids(folder, tmp_path):
  first = load(folder).identity
  (folder / 'README.md').touch()
  write_config(folder, model_type='llama', vocab_size=310, bos_token_id=300, n_layer=3)
  assert load(folder).identity == first
  write_config(folder, model_type='llama', vocab_size=310, bos_token_id=301)
  assert load(folder).identity != first


def test_gpt2_has_two_files_and_its_end_of_text(tmp_path):
  bpe = json.loads(byte_pairs.train(300, TEXTS))['model']
  vocabulary = bpe['vocab'] | {'<|endoftext|>': 300}
  (tmp_path / 'vocab.json').write_text(json.dumps(vocabulary))
  (tmp_path / 'merges.txt').write_text('\n'.join(['#version: 0.2', *map(' '.join, bpe['merges'])]))
  write_config(tmp_path, model_type='gpt2', vocab_size=301, bos_token_id=300)
  tokenizer = load(tmp_path)
  assert tokenizer.decode(tokenizer.encode(TEXTS[1])) == TEXTS[1]
  assert tokenizer.encode('hello<|endoftext|>')[-1] == tokenizer.bos_id == 300
  assert pretrained_tokenizer.exists(tmp_path)
  write_config(tmp_path, model_type='qwen2', vocab_size=301, bos_token_id=300)
  with pytest.raises(UserError, match=r'has no tokenizer\.json; if it has a tokenizer\.model, use'):
    load(tmp_path)


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    ({'vocab_size': 302}, r'config\.json: bos_token_id = None must be the id of a token, less than .* 302'),
    ({'vocab_size': 302, 'bos_token_id': 302}, 'bos_token_id = 302 must be'),
    ({'vocab_size': 301, 'bos_token_id': 1}, 'with the id 301, but config.json has vocab_size = 301'),
    ({'vocab_size': 10**30, 'bos_token_id': 1}, r'vocab_size = 1000.*, which must be below 2\^31'),
    ({}, r'config\.json has no vocab_size, but data\.tokenizer = .*; give the directory of the model'),
  ],
)  # fmt: skip
def test_a_config_that_does_not_fit_is_refused(folder, config, message):
  write_config(folder, model_type='llama', **config)
  with pytest.raises(UserError, match=message):
    load(folder)


def test_a_damaged_file_is_named(folder):
  (folder / 'tokenizer.json').write_text('{')
  with pytest.raises(UserError, match=r'has a damaged tokenizer\.json \('):
    load(folder)
  (folder / 'config.json').unlink()
  with pytest.raises(UserError, match=rf"{folder} has no config\.json, but data\.tokenizer = 'pretrained:"):
    load(folder)


@pytest.mark.parametrize(
  ('model', 'reason'),
  [
    (models.BPE(), 'its 0 tokens give no ids'),
    (models.WordLevel({'hello': 0}, unk_token='[UNK]'), 'WordLevel error: Missing .*'),
    (models.Unigram([('h', -1.0)], None), '.* unknown token but `unk_id` is missing'),
  ],
)
def test_a_tokenizer_that_cannot_encode_text_is_refused_before_the_data_are_blamed(folder, model, reason):
  library.Tokenizer(model).save(str(folder / 'tokenizer.json'))
  with pytest.raises(UserError, match=rf'{folder} has a tokenizer that cannot encode text \({reason}\); use'):
    load(folder)
