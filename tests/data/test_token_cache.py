"""The token cache: exact, reused, and never incomplete."""

import os
import selectors
import shutil
import subprocess
import sys

import numpy as np
import pytest

from infformer_jax.data import token_cache, token_files, tokenizers
from infformer_jax.data.documents import Document, FileDocuments, InMemoryDocuments
from tests.data import texts as text_files

BYTES = tokenizers.Bytes()
TEXTS = {'a': 'one two\u00a0three\n', 'empty': '', 'b': 'é' * 3000, 'single': 'x', 'c': ' 4  \n\n 5 '}
DOCUMENTS = InMemoryDocuments([Document(name, text) for name, text in TEXTS.items()])


class Unreadable:
  """Documents that raise an error when they are read."""

  def __init__(self, key=DOCUMENTS.key):
    self.key = self.outline = key

  def __len__(self):
    raise AssertionError('read again')


class Encoded(tokenizers.Bytes):
  """A tokenizer that raises an error when it encodes anything but the probe of its constructor."""

  def encode_batch(self, texts):
    assert not set(texts) & set(TEXTS.values()), 'tokenized again'
    return super().encode_batch(texts)


def documents(folder, texts=TEXTS):
  """The texts as files in a folder, all of which have the same time."""
  text_files.write(folder, texts, suffix='')
  return FileDocuments(text_files.files(folder, sorted(texts)), sorted(texts))


def folders(cache_dir):
  return sorted(path.name for path in (cache_dir / 'tokens').iterdir() if path.is_dir())


def assert_is_corpus(split, tokenizer=BYTES):
  assert split.names == ['a', 'b', 'c']
  for index, name in enumerate(split.names):
    np.testing.assert_array_equal(split.tokens(index), tokenizer.encode(TEXTS[name]))
  assert split.tokens(0).dtype == np.int32
  assert split.lengths.tolist() == [len(tokenizer.encode(TEXTS[name])) for name in split.names]
  assert split.bytes.tolist() == [15, 6000, 9]
  assert split.words.tolist() == [3, 1, 2]


def tokenized(folder, documents=DOCUMENTS, tokenizer=BYTES):
  return token_cache.tokenized(documents, tokenizer, folder, 'train')


def test_tokens_words_and_bytes_are_exact(tmp_path):
  split, facts = tokenized(tmp_path)
  assert_is_corpus(split)
  assert isinstance(split.ids, np.memmap)
  assert split.tokens(0, 4, 7).tolist() == list(b'two')
  assert split.tokens(0, 10, 99).tolist() == list('one two\u00a0three\n'.encode()[10:])
  assert facts | {'sha256': None} == {
    'documents': 3, 'tokens': 6024, 'words': 6, 'bytes': 6024, 'skipped_under_2_tokens': 2, 'sha256': None,
  }  # fmt: skip


def test_a_second_start_reads_no_documents(tmp_path):
  first = tokenized(tmp_path)
  split, facts = tokenized(tmp_path, Unreadable())
  assert_is_corpus(split)
  assert facts == first[1]


def test_another_text_or_tokenizer_has_a_separate_cache(tmp_path):
  tokenized(tmp_path)
  split, _ = tokenized(tmp_path, InMemoryDocuments([Document('a', 'other')]))
  assert split.names == ['a']
  np.testing.assert_array_equal(split.tokens(0), BYTES.encode('other'))
  bpe = tokenizers.from_spec('bpe:270', tmp_path, text_files.trained_on(TEXTS.values()))
  assert_is_corpus(tokenized(tmp_path, tokenizer=bpe)[0], bpe)


def test_documents_that_have_moved_are_read_once_and_not_tokenized_again(tmp_path):
  first = tokenized(tmp_path, documents(tmp_path / 'old'))
  old = folders(tmp_path)
  shutil.move(tmp_path / 'old', tmp_path / 'new')
  moved = documents(tmp_path / 'new')
  split, facts = tokenized(tmp_path, moved, Encoded())
  assert split.names == first[0].names
  np.testing.assert_array_equal(split.ids, first[0].ids)
  assert facts == first[1]
  assert folders(tmp_path) == old
  again = Unreadable(moved.key)
  again.outline = moved.outline
  tokenized(tmp_path, again)


def test_documents_of_other_names_or_sizes_are_not_compared_with_the_cache(tmp_path, monkeypatch):
  tokenized(tmp_path, documents(tmp_path / 'one'))
  monkeypatch.setattr(token_files, 'Content', lambda: pytest.fail('compared'))
  with pytest.raises(pytest.fail.Exception):
    tokenized(tmp_path, documents(tmp_path / 'copy'))
  monkeypatch.undo()
  monkeypatch.setattr(
    token_files, 'read', lambda folder: pytest.fail('compared') if 'partial' in folder.name else None
  )
  tokenized(tmp_path, documents(tmp_path / 'two', TEXTS | {'a': 'four'}))


def test_other_files_of_the_same_names_sizes_and_times_are_other_documents(tmp_path):
  for place, word in (('a', 'one'), ('b', 'two')):
    split, _ = tokenized(tmp_path, documents(tmp_path / place, {'0': word, '1': 'same'}))
    assert BYTES.decode(split.tokens(0)) == word


def test_the_same_text_under_other_names_is_another_content(tmp_path):
  split, _ = tokenized(tmp_path, InMemoryDocuments([Document('a', 'same')]))
  other, _ = tokenized(tmp_path, InMemoryDocuments([Document('b', 'same')]))
  assert (split.names, other.names) == (['a'], ['b'])


def test_no_documents_give_an_empty_split(tmp_path):
  split, facts = tokenized(tmp_path, InMemoryDocuments([Document('a', '')]))
  assert len(split) == facts['tokens'] == 0
  assert facts['skipped_under_2_tokens'] == 1


LIMITED = """
import pathlib, resource, sys
from infformer_jax.errors import UserError
from tests.data import test_token_cache as t

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
  t.tokenized(pathlib.Path(sys.argv[1]))
except UserError as error:
  print(error)
"""
SLOW = """
import pathlib, sys, time
from tests.data import test_token_cache as t

class Slow:
  key = outline = t.DOCUMENTS.key
  def __len__(self): return len(t.DOCUMENTS)
  def read(self, indices):
    if len(indices):
      print('read', flush=True)
      while not (pathlib.Path(sys.argv[1]) / 'go').exists(): time.sleep(0.01)
    return t.DOCUMENTS.read(indices)

t.tokenized(pathlib.Path(sys.argv[1]), Slow())
"""


def start(script, folder):
  return subprocess.Popen(
    [sys.executable, '-c', script, folder],
    env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_a_full_disk_is_a_one_line_error_that_names_the_key(tmp_path):
  out, err = start(LIMITED, tmp_path).communicate()
  assert out == (
    f'cannot write to data.cache_dir = {tmp_path}: File too large; make space there, or use a directory on '
    'another local disk\n'
  ), err
  assert_is_corpus(tokenized(tmp_path)[0])


@pytest.mark.parametrize('file', ['ids', 'documents.jsonl', 'about.json'])
@pytest.mark.parametrize('damage', ['missing', 'short', 'another byte'])
def test_a_damaged_cache_is_rebuilt_with_a_warning(file, damage, tmp_path, capsys):
  tokenized(tmp_path)
  (path,) = (tmp_path / 'tokens').glob(f'train_*/{file}')
  content = path.read_bytes()
  if damage == 'missing':
    path.unlink()
  else:
    place = max(20, content.find(b'"sha256"') + len('"sha256": "'))
    changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    path.write_bytes(content[:100] if damage == 'short' else changed)
  assert_is_corpus(tokenized(tmp_path)[0])
  assert path.read_bytes() == content
  assert capsys.readouterr().err == f'warning: {path.parent} is damaged and is not used\n'


def test_processes_that_start_at_the_same_time_share_one_cache(tmp_path):
  started = [start(SLOW, tmp_path) for _ in range(3)]
  with selectors.DefaultSelector() as outputs:
    for process in started:
      outputs.register(process.stdout, selectors.EVENT_READ)
      outputs.register(process.stderr, selectors.EVENT_READ)
    lines = []
    while len(lines) < 3:
      for output, _ in outputs.select():
        outputs.unregister(output.fileobj)
        lines.append(output.fileobj.readline())
  one, *others = sorted(lines)
  assert one == 'read\n'
  assert all(line.startswith('waiting for the process that writes ') for line in others)
  (tmp_path / 'go').touch()
  assert [process.communicate()[0] for process in started] == ['', '', '']
  assert [process.returncode for process in started] == [0, 0, 0]
  assert_is_corpus(tokenized(tmp_path, Unreadable())[0])


def test_a_process_waits_only_for_the_same_documents(tmp_path):
  with token_cache.cache.locked(tmp_path, 'tokens', 'train_of_others'):
    assert_is_corpus(tokenized(tmp_path)[0])
