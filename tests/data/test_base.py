"""Properties of every corpus, and user-defined data."""

import dataclasses

import numpy as np
import pytest

from infformer_jax.data import base
from infformer_jax.data.base import Corpus, DataConfig, Source, StoredSplit
from infformer_jax.data.load import load_corpus
from infformer_jax.data.tokenizers import Bytes
from infformer_jax.errors import ConfigError, UserError

TEXTS = {'train': ['first', 'second text'], 'validation': ['third']}


class Poems(Source):
  """A source with two splits in memory."""

  @property
  def facts(self):
    return {'author': 'unknown'}

  def tokenizer(self):
    return Bytes()

  def splits(self, tokenizer):
    def load(name):
      split = StoredSplit.from_tokens([tokenizer.encode(text) for text in TEXTS[name]])
      return split, {'documents': len(split), 'tokens': len(split.ids)}

    return {name: lambda name=name: load(name) for name in TEXTS}


@pytest.fixture
def poems_config(monkeypatch):
  monkeypatch.setattr(base, '_KINDS', dict(base._KINDS))

  @base.register
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class PoemsConfig(DataConfig):
    kind: str = 'poems'
    tokenizer: str = 'bytes'

    def source(self, workdir):
      return Poems()

  return PoemsConfig


def test_user_defined_data_are_registered_and_loaded_like_built_in_data(poems_config, tmp_path):
  assert DataConfig.kinds()['poems'] is poems_config
  corpus = load_corpus(poems_config(), tmp_path, ['validation'])
  assert corpus.tokenizer.decode(corpus.split('validation').tokens(0)) == 'third'
  assert corpus.fingerprint['author'] == 'unknown'
  assert corpus.note == 'poems, bytes: validation 5 tokens in 1 documents'
  with pytest.raises(ConfigError, match=r"unknown split of the data 'test'.*allowed: train, validation"):
    load_corpus(poems_config(), tmp_path, ['test'])


def test_a_config_without_a_kind_is_rejected():
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Nameless(DataConfig):
    def source(self, workdir):
      return Poems()

  with pytest.raises(ConfigError, match=r'Nameless\.kind has no default'):
    base.register(Nameless)


def test_a_kind_has_one_config(poems_config):
  base.register(poems_config)  # Again: a config file may be read twice.
  other = dataclasses.make_dataclass(
    'Other', [('kind', str, 'poems')], bases=(DataConfig,), frozen=True, kw_only=True
  )
  with pytest.raises(ConfigError, match=r"Other\.kind = 'poems' is the kind of PoemsConfig; use another"):
    base.register(other)


def test_a_split_in_memory_counts_one_word_and_one_byte_per_token():
  split = StoredSplit.from_tokens([[1, 2, 3], [4, 5]])
  assert split.lengths.tolist() == [3, 2]
  assert split.tokens(1).tolist() == [4, 5]
  assert split.tokens(0, 1, 9).tolist() == [2, 3]
  assert split.text_sizes(np.array([0, 1])) == (5, 5)
  assert split.group(0, 1, 3).tolist() == [0, 0]


def test_an_unknown_or_empty_split_is_an_error():
  corpus = Corpus(tokenizer=Bytes(), splits={'train': StoredSplit.from_tokens([])}, fingerprint={}, note='')
  with pytest.raises(ConfigError, match="unknown split of the data 'trian'; did you mean 'train'"):
    corpus.split('trian')
  with pytest.raises(UserError, match="the split 'train' of the data has no document"):
    corpus.split('train')
