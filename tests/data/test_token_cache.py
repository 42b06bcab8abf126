"""The token cache: exact, reused, and never incomplete."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from infformer_jax.data import token_cache, tokenizers
from infformer_jax.data.documents import Document, FileDocuments, InMemoryDocuments

BYTES = tokenizers.Bytes()
TEXTS = {'a': 'one two\u00a0three\n', 'empty': '', 'b': 'é' * 3000, 'single': 'x', 'c': ' 4  \n\n 5 '}
DOCUMENTS = InMemoryDocuments([Document(name, text) for name, text in TEXTS.items()])


class Unreadable:
  """Documents that raise an error when they are read."""

  def __init__(self, key=DOCUMENTS.key):
    self.key = key

  def __len__(self):
    raise AssertionError('read again')


class Encoded(tokenizers.Bytes):
  """A tokenizer that raises an error when it encodes anything but the probe of its constructor."""

  def encode_batch(self, texts):
    assert not set(texts) & set(TEXTS.values()), 'tokenized again'
    return super().encode_batch(texts)


def files(folder, texts):
  """The texts as files in a folder, all of which have the same time."""
  folder.mkdir(parents=True)
  for name, text in texts.items():
    (folder / name).write_bytes(text.encode())
    os.utime(folder / name, (1, 1))
  return FileDocuments(folder, sorted(texts))


def folders(folder):
  return sorted(path.name for path in folder.iterdir() if path.is_dir())


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


def test_small_batches_and_large_vocabularies_give_the_same_tokens(tmp_path, monkeypatch):
  class Spread(tokenizers.Bytes):
    """A tokenizer with ids that do not fit into 16 bits."""

    def __init__(self):
      super().__init__()
      self.vocab_size = 2**17
      self.identity = 'spread'

    def encode_batch(self, texts):
      return [ids * 500 for ids in super().encode_batch(texts)]

    def _decode(self, ids):
      return super()._decode([i // 500 for i in ids])

  monkeypatch.setattr(token_cache, '_BATCH_CHARACTERS', 1)
  assert_is_corpus(tokenized(tmp_path)[0])
  assert_is_corpus(tokenized(tmp_path, tokenizer=Spread())[0], Spread())


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
  bpe = tokenizers.from_spec('bpe:270', tmp_path, TEXTS.values)
  assert_is_corpus(tokenized(tmp_path, tokenizer=bpe)[0], bpe)


def test_documents_that_have_moved_are_read_once_and_not_tokenized_again(tmp_path):
  first = tokenized(tmp_path / 'tokens', files(tmp_path / 'old', TEXTS))
  old = folders(tmp_path / 'tokens')
  shutil.move(tmp_path / 'old', tmp_path / 'new')
  moved = FileDocuments(tmp_path / 'new', sorted(TEXTS))
  split, facts = tokenized(tmp_path / 'tokens', moved, Encoded())
  assert split.names == first[0].names
  np.testing.assert_array_equal(split.ids, first[0].ids)
  assert facts == first[1]
  assert folders(tmp_path / 'tokens') == old
  tokenized(tmp_path / 'tokens', Unreadable(moved.key))


def test_other_files_of_the_same_names_sizes_and_times_are_other_documents(tmp_path):
  for place, word in (('a', 'one'), ('b', 'two')):
    split, _ = tokenized(tmp_path / 'tokens', files(tmp_path / place, {'0': word, '1': 'same'}))
    assert BYTES.decode(split.tokens(0)) == word


def test_the_same_text_under_other_names_is_another_content(tmp_path):
  split, _ = tokenized(tmp_path, InMemoryDocuments([Document('a', 'same')]))
  other, _ = tokenized(tmp_path, InMemoryDocuments([Document('b', 'same')]))
  assert (split.names, other.names) == (['a'], ['b'])


def test_no_documents_give_an_empty_split(tmp_path):
  split, facts = tokenized(tmp_path, InMemoryDocuments([Document('a', '')]))
  assert len(split) == facts['tokens'] == 0
  assert facts['skipped_under_2_tokens'] == 1


KILLED = """
import os, pathlib, signal, sys, time
from infformer_jax.data import token_cache
from tests.data import test_token_cache as t

class Killed:
  key = t.DOCUMENTS.key
  def __len__(self): return len(t.DOCUMENTS)
  def read(self, indices):
    for index, document in enumerate(t.DOCUMENTS.read(indices)):
      if index == 3: os.kill(os.getpid(), signal.SIGKILL)
      yield document

token_cache._BATCH_CHARACTERS = 1
t.tokenized(pathlib.Path(sys.argv[1]), Killed())
"""
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


def python(script, folder):
  return subprocess.run(
    [sys.executable, '-c', script, folder],
    env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
    capture_output=True,
    text=True,
    check=False,
  )


def test_a_killed_process_leaves_no_incomplete_cache(tmp_path):
  assert python(KILLED, tmp_path).returncode == -signal.SIGKILL
  assert [path for path in tmp_path.iterdir() if path.suffix == '.partial'], (
    'the process was killed before it wrote anything'
  )
  assert_is_corpus(tokenized(tmp_path)[0])
  assert not [path for path in tmp_path.iterdir() if path.suffix == '.partial']


def test_a_full_disk_is_a_one_line_error(tmp_path):
  done = python(LIMITED, tmp_path)
  assert done.stdout.startswith(f'cannot save the tokens in {tmp_path}'), done.stderr
  assert 'File too large' in done.stdout
  assert_is_corpus(tokenized(tmp_path)[0])


@pytest.mark.parametrize('file', ['ids', 'split.json', 'about.json'])
@pytest.mark.parametrize('size', [None, 100])
def test_a_damaged_cache_is_rebuilt(file, size, tmp_path):
  tokenized(tmp_path)
  (path,) = tmp_path.glob(f'train_*/{file}')
  if size is None:
    path.unlink()
  else:
    os.truncate(path, size)
  assert_is_corpus(tokenized(tmp_path)[0])


def test_processes_that_start_at_the_same_time_share_one_cache(tmp_path):
  script = KILLED.replace('os.kill(os.getpid(), signal.SIGKILL)', 'print("read"), time.sleep(1)')
  command = [sys.executable, '-c', script, tmp_path]
  environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
  started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
  assert sorted(process.communicate()[0] for process in started) == ['', '', 'read\n']
  assert [process.returncode for process in started] == [0, 0, 0]
  assert_is_corpus(tokenized(tmp_path, Unreadable())[0])
