"""Loading a corpus from a config."""

import dataclasses
import json

import pytest

from infformer_jax.data import byte_pairs, token_files
from infformer_jax.data.load import load_corpus, trained_tokenizer
from infformer_jax.data.text import TextConfig
from infformer_jax.errors import ConfigError, UserError


@pytest.fixture
def folder(tmp_path):
  for split, texts in {'train': ['hello world ' * 50, 'hello there ' * 50], 'test': ['other words']}.items():
    for index, text in enumerate(texts):
      path = tmp_path / 'texts' / split / f'{index}.txt'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(text)
  return tmp_path / 'texts'


def test_a_corpus_has_a_note_with_its_tokenizer_and_sizes(folder, tmp_path):
  corpus = load_corpus(TextConfig(source_dir=str(folder), tokenizer='bpe:280'), tmp_path)
  assert list(corpus.splits) == ['train', 'test']
  for name, split in corpus.splits.items():
    for index, path in enumerate(sorted((folder / name).iterdir())):
      assert corpus.tokenizer.decode(split.tokens(index)) == path.read_text()
  fingerprint = corpus.fingerprint
  assert (fingerprint['kind'], fingerprint['tokenizer']) == ('text', 'bpe:280')
  assert fingerprint['splits']['test']['documents'] == 1
  assert fingerprint['splits']['train']['bytes'] == 1200
  assert 'test' in corpus.note
  assert str(corpus.splits['test'].lengths[0]) in corpus.note


def test_only_the_requested_splits_are_tokenized(folder, tmp_path):
  config = TextConfig(source_dir=str(folder), tokenizer='bytes', cache_dir=str(tmp_path / 'C'))
  corpus = load_corpus(config, tmp_path, ['test'])
  assert list(corpus.splits) == ['test']
  assert [path.name.split('_')[0] for path in (tmp_path / 'C' / 'tokens').glob('*/')] == ['test']
  with pytest.raises(
    ConfigError, match=r"unknown split of the data 'tets'; did you mean 'test'\? .*train, test"
  ):
    load_corpus(config, tmp_path, ['tets'])
  with pytest.raises(ConfigError, match=r"unknown split of the data 'validation'"):
    corpus.split('validation')


def test_other_books_keep_the_tokenizer_of_the_work_directory(folder, tmp_path):
  first = load_corpus(TextConfig(source_dir=str(folder), tokenizer='bpe:280'), tmp_path)
  (folder / 'train' / '0.txt').write_text('quite other things ' * 50)
  again = load_corpus(TextConfig(source_dir=str(folder), tokenizer='bpe:280'), tmp_path)
  assert again.tokenizer.identity == first.tokenizer.identity
  assert again.tokenizer.decode(again.split('train').tokens(0)).startswith('quite other')


def test_another_work_directory_on_the_same_data_trains_and_tokenizes_nothing(folder, tmp_path, monkeypatch):
  config = TextConfig(source_dir=str(folder), tokenizer='bpe:280')
  first = load_corpus(config, tmp_path / 'first')
  monkeypatch.setattr(byte_pairs, 'train', lambda *args: pytest.fail('trained again'))
  monkeypatch.setattr(token_files, 'write', lambda *args: pytest.fail('tokenized again'))
  other = load_corpus(config, tmp_path / 'other')
  assert other.fingerprint == first.fingerprint
  assert [path.name for path in (tmp_path / 'other').iterdir()] == ['bpe_280.json']
  with pytest.raises(pytest.fail.Exception, match='again'):
    load_corpus(dataclasses.replace(config, cache_dir=str(tmp_path / 'C')), tmp_path / 'other')


def test_loading_only_the_tokenizer_needs_no_data(folder, tmp_path):
  config = TextConfig(source_dir=str(folder), tokenizer='bpe:280')
  identity = load_corpus(config, tmp_path).tokenizer.identity
  gone = TextConfig(source_dir=str(tmp_path / 'gone'), tokenizer='bpe:280')
  assert gone.source(tmp_path).tokenizer().identity == identity


def test_a_split_without_documents_is_an_error(folder, tmp_path):
  for path in (folder / 'test').iterdir():
    path.write_text('x')
  corpus = load_corpus(TextConfig(source_dir=str(folder), tokenizer='bytes'), tmp_path)
  with pytest.raises(UserError, match="the split 'test' of the data has no document of at least 2 tokens"):
    corpus.split('test')


def test_the_tokenizer_of_a_trained_model_must_match_the_config(folder, tmp_path):
  config = TextConfig(source_dir=str(folder), tokenizer='bpe:280')
  with pytest.raises(UserError, match=r'data\.json does not exist; use the work directory of a training run'):
    trained_tokenizer(config, tmp_path)
  corpus = load_corpus(config, tmp_path)
  (tmp_path / 'data.json').write_text(json.dumps(corpus.fingerprint))
  assert trained_tokenizer(config, tmp_path).identity == corpus.tokenizer.identity
  for spec in ('bytes', 'bpe:281'):
    other = TextConfig(source_dir=str(folder), tokenizer=spec)
    with pytest.raises(
      ConfigError, match=rf"data\.tokenizer = '{spec}' must be the tokenizer .*tokenizer=bpe:280"
    ):
      trained_tokenizer(other, tmp_path)
  (tmp_path / 'data.json').write_text(json.dumps(corpus.fingerprint | {'tokenizer': 3}))
  with pytest.raises(UserError, match=r'data\.json is damaged \(tokenizer is a int, not a str\)'):
    trained_tokenizer(config, tmp_path)


def test_what_is_left_out_is_named_in_note_fingerprint_and_errors(folder, tmp_path):
  config = TextConfig(source_dir=str(folder), tokenizer='bpe:280')
  before = load_corpus(config, folder / 'run').fingerprint
  (folder / '.git').mkdir()
  (folder / 'train/more').symlink_to('nowhere')
  corpus = load_corpus(config, folder / 'run')
  left_out = '(left out: 1 dangling link: train/more; 1 hidden: .git; 1 work directory: run)'
  assert corpus.note.endswith(left_out)
  assert corpus.fingerprint['left_out']['work directory'] == {'count': 1, 'first': ['run']}
  assert corpus.fingerprint['splits'] == before['splits']
  with pytest.raises(ConfigError) as raised:
    load_corpus(config, folder / 'run', ['validation'])
  assert str(raised.value).endswith(left_out)
