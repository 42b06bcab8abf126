"""Documents from files and in memory."""

import pytest

from infformer_jax.data.documents import Document, InMemoryDocuments
from infformer_jax.errors import UserError
from tests.data.texts import read, splits, text_config, write


def test_a_file_that_is_not_utf8_is_named_with_the_offset(tmp_path):
  write(tmp_path, {'train/good': 'good', 'train/latin': b'caf\xc3\xa9 caf\xe9'})
  with pytest.raises(UserError, match=r'train/latin\.txt is not UTF-8: invalid byte 0xe9 at offset 9'):
    splits(text_config(tmp_path))


def test_a_tokenizer_needs_a_train_split(tmp_path):
  source = text_config(write(tmp_path, {'test/a': 'A'})).open()
  with pytest.raises(UserError, match="trained on the split 'train', and the data have only test"):
    _ = source.training


def test_the_key_of_files_changes_with_them(tmp_path):
  def key():
    return text_config(tmp_path).open().training.key

  write(tmp_path, {'train/a': 'A', 'train/b': 'B'})
  first = key()
  assert key() == first
  write(tmp_path, {'train/b': 'BB'})
  second = key()
  (tmp_path / 'train/b.txt').rename(tmp_path / 'train/c.txt')
  assert len({first, second, key()}) == 3


def test_documents_in_memory_have_a_key_of_their_content():
  documents = [InMemoryDocuments([Document('a', text)]) for text in ('x', 'x', 'y')]
  assert read(documents[0]) == {'a': 'x'}
  assert [each.key == documents[0].key for each in documents] == [True, True, False]
