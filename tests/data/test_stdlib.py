"""The source code of Python's standard library as a corpus."""

import pathlib
import sysconfig
import tokenize

import pytest

from infformer_jax.data import stdlib, tokenizers
from infformer_jax.data.load import load_corpus
from infformer_jax.errors import UserError
from tests.data.texts import BYTES, NOWHERE, read, trained_on, write


@pytest.fixture(scope='module')
def library():
  return stdlib.StdlibConfig().open(NOWHERE)


def test_the_corpus_is_the_standard_library_without_tests(library):
  root = pathlib.Path(sysconfig.get_path('stdlib'))
  divided = {name: read(own) for name, own in library.splits(BYTES).items()}
  texts = divided['train'] | divided['validation']
  assert len(texts) == len(divided['train']) + len(divided['validation']) == library.facts['source_files']
  assert {'os.py', 'argparse.py', 'json/decoder.py', 'unittest/case.py'} <= set(texts)
  folders = {part for name in texts for part in pathlib.PurePath(name).parent.parts}
  assert not folders & {'site-packages', 'dist-packages', 'test', 'tests', 'idle_test', '_test'}
  for name in list(texts)[::50]:
    with tokenize.open(root / name) as file:
      assert texts[name] == file.read()
  assert library.facts['source_bytes'] == sum(len(text.encode()) for text in texts.values())


@pytest.mark.parametrize('spec', ['bytes', 'bpe:500'])
def test_the_validation_split_respects_its_limits(library, spec, tmp_path):
  some = [document.text for document in library.training.read(range(0, len(library.training), 20))]
  tokenizer = tokenizers.from_spec(spec, tmp_path, trained_on(some))
  validation = read(library.splits(tokenizer)['validation'])
  lengths = [len(ids) for ids in tokenizer.encode_batch(list(validation.values()))]
  assert max(lengths) <= 20_000
  assert 90_000 < sum(lengths) <= 100_000
  learned_from = set(read(library.training))
  assert not learned_from & set(validation), 'the tokenizer was trained on validation text'


def test_files_that_python_cannot_decode_are_skipped_and_counted(tmp_path):
  texts = {f'm{i}': f'x = {i}' for i in range(24)} | {
    'latin': b'# -*- coding: latin-1 -*-\n# \xe9',
    'bom': b'\xef\xbb\xbf# \xc3\xa9\r\ny = 1\r\n',
    'bad_utf8': b'# \xe9',
    'bad_coding': b'# coding: klingon\n',
    'no_text_coding': b'# coding: rot13\n',
    'tests/left_out': '1',
    'a/idle_test/left_out': '1',
    'site-packages/left_out': '1',
    'unittest/kept': '1',
  }
  library = stdlib.Stdlib(write(tmp_path, texts, suffix='.py'))
  (tmp_path / 'dangling.py').symlink_to(tmp_path / 'nowhere')
  assert library.facts['skipped_files_not_decodable'] == 3
  assert stdlib.Stdlib(tmp_path).facts['skipped_files_not_decodable'] == 4
  divided = {name: read(own) for name, own in library.splits(BYTES).items()}
  read_texts = divided['train'] | divided['validation']
  assert read_texts['latin.py'].endswith('é')
  assert read_texts['bom.py'] == '# é\ny = 1\n'
  assert 'unittest/kept.py' in read_texts
  assert not [name for name in read_texts if 'left_out' in name]


def test_a_python_without_library_sources_is_an_error(tmp_path):
  with pytest.raises(
    UserError, match=r"data\.kind = 'stdlib' finds no source code of the standard library in"
  ):
    stdlib.Stdlib(tmp_path)
  with pytest.raises(UserError, match=r"data\.kind = 'stdlib' cannot read the folder .*gone: No such file"):
    stdlib.Stdlib(tmp_path / 'gone')


def test_the_standard_library_is_loaded_as_a_corpus(tmp_path):
  corpus = load_corpus(stdlib.StdlibConfig(tokenizer='bytes'), tmp_path)
  fingerprint = corpus.fingerprint
  tokens = {name: len(split.ids) for name, split in corpus.splits.items()}
  read = sum(facts['documents'] + facts['skipped_under_2_tokens'] for facts in fingerprint['splits'].values())
  assert read == fingerprint['source_files']
  skipped = fingerprint['source_bytes'] - sum(tokens.values())
  assert 0 <= skipped < read, 'only documents of fewer than 2 tokens may be skipped'
  assert tokens['validation'] <= 100_000
  assert len(fingerprint['source_sha256']) == 64
