"""Where documents come from: the standard library and text files."""

import pathlib
import sysconfig
import tokenize

import pytest

from infformer_jax.data import registry, stdlib, tokenizers
from infformer_jax.errors import UserError

BYTES = tokenizers.Bytes()


def write(root, texts, suffix='.txt'):
  for name, text in texts.items():
    path = root / f'{name}{suffix}'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return root


def read(documents):
  return {document.name: document.text for document in (documents[i] for i in range(len(documents)))}


def splits(config):
  return {name: read(own) for name, own in registry.source(config).splits(BYTES).items()}


def text_config(source_dir):
  return registry.CONFIGS['text'](source_dir=str(source_dir))


# The standard library.


@pytest.fixture(scope='module')
def library():
  return registry.source(registry.CONFIGS['stdlib']())


def test_stdlib_is_what_python_ships_without_tests(library):
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
def test_stdlib_validation_keeps_to_its_limits(library, spec, tmp_path):
  some = [library.training[i].text for i in range(0, len(library.training), 20)]
  tokenizer = tokenizers.from_spec(spec, tmp_path, lambda: some)
  validation = read(library.splits(tokenizer)['validation'])
  lengths = [len(ids) for ids in tokenizer.encode_batch(list(validation.values()))]
  assert max(lengths) <= 20_000
  assert 90_000 < sum(lengths) <= 100_000
  learned_from = {library.training[i].name for i in range(len(library.training))}
  assert not learned_from & set(validation), 'a tokenizer sees no validation text'


def test_stdlib_skips_and_counts_what_python_cannot_decode(tmp_path):
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


def test_no_stdlib_source_is_an_error(tmp_path):
  with pytest.raises(UserError, match=r'no source code in .*data\.kind'):
    stdlib.Stdlib(tmp_path)


# Text files.


def test_folders_say_which_file_is_which(tmp_path):
  write(tmp_path, {'train/a': 'A', 'train/deep/b': 'B', 'test/c': 'C', 'stray': 'S', 'train/.hidden': 'H'})
  assert splits(text_config(tmp_path)) == {
    'train': {'train/a.txt': 'A', 'train/deep/b.txt': 'B'},
    'test': {'test/c.txt': 'C'},
  }
  assert list(splits(text_config(tmp_path / '*/*.txt'))['train']) == ['train/a.txt']


def test_without_folders_the_hash_decides_and_stays(tmp_path):
  write(tmp_path, {f'{i}': f'text {i}' for i in range(100)})
  divided = splits(text_config(tmp_path))
  assert {name: len(own) for name, own in divided.items()} == {'train': 95, 'validation': 5}
  assert splits(text_config(tmp_path / '*.txt')) == divided
  write(tmp_path, {name[:-4]: 'another text' for name in divided['validation']})
  assert list(splits(text_config(tmp_path))['validation']) == list(divided['validation'])


def test_text_is_read_as_it_is(tmp_path):
  text = '\ufeffa\r\nb\rc\n\x00'
  write(tmp_path, {'train/a': text})
  assert splits(text_config(tmp_path))['train']['train/a.txt'] == text


@pytest.mark.parametrize(
  ('texts', 'source', 'message'),
  [
    ({}, 'nowhere', r"data\.source_dir = '.*nowhere': there is no such directory"),
    ({}, '.', r"data\.source_dir = '.*' holds no files"),
    ({}, '*.txt', r"data\.source_dir = '.*\*\.txt': no file matches"),
    ({'a': 'A'}, '.', 'a single file, which cannot be both trained and validated on'),
    ({'a': 'A'}, 'a.txt', 'a single file'),
  ],
)
def test_what_is_not_there_is_an_error(texts, source, message, tmp_path):
  write(tmp_path, texts)
  with pytest.raises(UserError, match=message):
    registry.source(text_config(tmp_path / source))


def test_a_file_that_is_not_utf8_is_named_with_the_offset(tmp_path):
  write(tmp_path, {'train/good': 'good', 'train/latin': b'caf\xc3\xa9 caf\xe9'})
  with pytest.raises(UserError, match=r'train/latin\.txt is not UTF-8: wrong byte 0xe9 at byte offset 9'):
    splits(text_config(tmp_path))


def test_a_tokenizer_needs_a_train_split(tmp_path):
  source = registry.source(text_config(write(tmp_path, {'test/a': 'A'})))
  with pytest.raises(UserError, match="trained on the split 'train', and there is only test"):
    _ = source.training


def test_the_key_of_files_changes_with_them(tmp_path):
  def key():
    return registry.source(text_config(tmp_path)).training.key

  write(tmp_path, {'train/a': 'A', 'train/b': 'B'})
  first = key()
  assert key() == first
  write(tmp_path, {'train/b': 'BB'})
  second = key()
  (tmp_path / 'train/b.txt').rename(tmp_path / 'train/c.txt')
  assert len({first, second, key()}) == 3
