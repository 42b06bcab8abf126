"""Tokens are written in bounded batches, and what a killed process has finished is kept."""

import json
import signal

import pytest

from infformer_jax.data import token_files
from infformer_jax.data.documents import Document, InMemoryDocuments
from infformer_jax.data.tokenizers import Bytes
from tests.data.test_token_cache import BYTES, DOCUMENTS, TEXTS, assert_is_corpus, start


class Counted(Bytes):
  """Records how many characters are encoded at once."""

  def __init__(self):
    self.sizes = []
    super().__init__()
    self.sizes.clear()  # That of the probe.

  def encode_batch(self, texts):
    self.sizes.append(sum(map(len, texts)))
    return super().encode_batch(texts)


def write(folder, documents=DOCUMENTS, tokenizer=BYTES):
  return token_files.write(folder, documents, tokenizer, 'train', 'seen')


def test_small_batches_and_large_vocabularies_give_the_same_tokens(tmp_path, monkeypatch):
  class Spread(Bytes):
    """A tokenizer with ids that do not fit into 16 bits."""

    def __init__(self):
      super().__init__()
      self.vocab_size = 2**17

    def encode_batch(self, texts):
      return [ids * 500 for ids in super().encode_batch(texts)]

    def _decode(self, ids):
      return super()._decode([i // 500 for i in ids])

  whole = write(tmp_path / 'whole')
  monkeypatch.setattr(token_files, '_BATCH_CHARACTERS', 1)
  assert write(tmp_path / 'small') == whole
  assert_is_corpus(token_files.read(tmp_path / 'small')[0])
  write(tmp_path / 'spread', tokenizer=Spread())
  assert_is_corpus(token_files.read(tmp_path / 'spread')[0], Spread())


def test_a_batch_is_bounded_however_many_documents_there_are(tmp_path, monkeypatch):
  monkeypatch.setattr(token_files, '_BATCH_CHARACTERS', 100)
  tokenizer = Counted()
  write(tmp_path / 'T', InMemoryDocuments([Document(str(i), 'x' * 30) for i in range(50)]), tokenizer)
  assert set(tokenizer.sizes) == {60, 120}, 'the last batch, and those that reach the limit'
  assert sum(tokenizer.sizes) == 1500


KILLED = """
import os, pathlib, signal, sys
from infformer_jax.data import token_files
from tests.data import test_token_files as t

class Killed:
  def __len__(self): return len(t.DOCUMENTS)
  def read(self, indices):
    for index, document in enumerate(t.DOCUMENTS.read(indices)):
      if index == 4: os.kill(os.getpid(), signal.SIGKILL)
      yield document

token_files._BATCH_CHARACTERS = 1
t.write(pathlib.Path(sys.argv[1]), Killed())
"""


@pytest.mark.parametrize('garbage', [b'', b'cut off'])
def test_what_a_killed_process_has_finished_is_not_tokenized_again(garbage, tmp_path):
  folder, tokenizer = tmp_path / 'T', Counted()
  killed = start(KILLED, folder)
  killed.communicate()
  assert killed.returncode == -signal.SIGKILL
  for name in ('ids', 'documents.jsonl'):
    with open(folder / name, 'ab') as file:
      file.write(garbage)
  write(folder, tokenizer=tokenizer)
  assert_is_corpus(token_files.read(folder)[0])
  again = sum(tokenizer.sizes)
  assert len(TEXTS['c']) <= again < sum(map(len, TEXTS.values()))
  whole = tmp_path / 'whole'
  write(whole)
  assert (folder / 'ids').read_bytes() == (whole / 'ids').read_bytes()
  assert (folder / 'about.json').read_text() == (whole / 'about.json').read_text()


def test_a_folder_that_is_not_complete_is_not_read(tmp_path):
  write(tmp_path / 'T')
  content = (tmp_path / 'T' / 'ids').read_bytes()
  for damaged in (content[:-2], content + b'xx', b'?' + content[1:]):
    (tmp_path / 'T' / 'ids').write_bytes(damaged)
    with pytest.raises(token_files.DAMAGED):
      token_files.read(tmp_path / 'T')


def test_the_places_where_texts_were_seen_are_kept(tmp_path):
  write(tmp_path / 'T')
  token_files.add_seen(tmp_path / 'T', 'elsewhere')
  assert token_files.seen_in(tmp_path / 'T') == ['seen', 'elsewhere']
  assert_is_corpus(token_files.read(tmp_path / 'T')[0])


@pytest.mark.parametrize('seen', [1, 'a', None, ['a', 1], {'a': 1}])
def test_places_that_are_no_list_of_hashes_are_damage(seen, tmp_path):
  folder = tmp_path / 'T'
  write(folder)
  about = json.loads((folder / 'about.json').read_text())
  (folder / 'about.json').write_text(json.dumps(about | {'seen': seen}))
  for reads in (token_files.read, token_files.seen_in):
    with pytest.raises(token_files.DAMAGED):
      reads(folder)
