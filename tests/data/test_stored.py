"""Stored corpora: opened lazily, with tokenizers that are trained only on training documents."""

import dataclasses
import os

import pytest
from etils import epath

from infformer_jax.data import stored
from infformer_jax.data.documents import (
  Document,
  FileDocuments,
  FixedSplits,
  InMemoryDocuments,
  hash_order,
)
from infformer_jax.data.stored import StoredSource
from infformer_jax.data.text import TextConfig
from infformer_jax.errors import ConfigError
from tests.data.texts import files, text_config, write


def documents(*texts):
  return InMemoryDocuments([Document(str(i), text) for i, text in enumerate(texts)])


def test_splits_are_opened_lazily(tmp_path):
  source = text_config(tmp_path / 'nowhere').source(tmp_path)
  assert isinstance(source, StoredSource)
  assert StoredSource('bytes', lambda: 1 / 0, tmp_path, tmp_path).tokenizer().vocab_size == 257


def test_a_tokenizer_is_trained_only_on_training_documents(tmp_path):
  def trained(folder, validation):
    texts = FixedSplits(documents={'train': documents('ab ' * 99), 'validation': validation}, facts={})
    return StoredSource('bpe:260', lambda: texts, tmp_path / folder, tmp_path / 'cache').tokenizer().identity

  assert trained('a', documents('xy ' * 99)) == trained('b', documents('uv ' * 999))


def test_splits_are_tokenized_when_they_are_loaded(tmp_path):
  texts = write(tmp_path / 'texts', {'train/a': 'one', 'test/b': 'two'})
  source = dataclasses.replace(text_config(texts), cache_dir=str(tmp_path / 'C')).source(tmp_path)
  tokenizer = source.tokenizer()
  loads = source.splits(tokenizer)
  assert set(loads) == {'train', 'test'}
  split, facts = loads['test']()
  assert tokenizer.decode(split.tokens(0)) == 'two'
  assert facts['documents'] == 1
  assert [path.name[:4] for path in (tmp_path / 'C' / 'tokens').iterdir() if path.is_dir()] == ['test']


def test_a_cache_that_has_everything_may_be_read_only(tmp_path, monkeypatch):
  texts = write(tmp_path / 'texts', {'train/a': 'ab ' * 99, 'test/b': 'two'})

  def ids(workdir):
    config = dataclasses.replace(text_config(texts), cache_dir=str(tmp_path / 'C'), tokenizer='bpe:260')
    source = config.source(epath.Path(tmp_path / workdir))
    return {name: load()[0].ids.tolist() for name, load in source.splits(source.tokenizer()).items()}

  first = ids('first')
  monkeypatch.setattr(os, 'access', lambda path, mode: not str(path).startswith(f'{tmp_path}/C'))
  monkeypatch.setattr('infformer_jax.files.lock', lambda *args, **settings: pytest.fail('locked'))
  assert ids('second') == first


def test_a_cache_that_is_not_local_is_refused():
  with pytest.raises(ConfigError, match="cache_dir = 'gs://bucket/C' must be a local path"):
    TextConfig(source_dir='texts', cache_dir='gs://bucket/C')


def test_a_tokenizer_is_trained_on_records_in_one_pass(tmp_path, monkeypatch):
  monkeypatch.setattr(stored, '_TRAINING_CHARACTERS', 100)
  (tmp_path / 'a.jsonl').write_text(''.join(f'{{"text": "{i:020}"}}\n' for i in range(50)))
  documents = FileDocuments(files(tmp_path, ['a.jsonl']), ['a.jsonl'])
  indices = []
  read = documents.read
  monkeypatch.setattr(documents, 'read', lambda order: read(indices.append(list(order)) or order))
  texts = list(stored._sample(documents))
  assert indices == [sorted(hash_order(50)[:4])], 'a line has 32 bytes'
  assert texts == [f'{i:020}' for i in indices[0]]
