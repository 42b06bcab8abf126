"""Documents in files and in memory."""

import pytest

from infformer_jax.data.documents import Document, InMemoryDocuments
from infformer_jax.errors import UserError
from tests.data.texts import NOWHERE, read, splits, text_config, write


def test_the_error_for_a_file_that_is_not_utf8_has_its_path_and_the_offset(tmp_path):
  write(tmp_path, {'train/good': 'good', 'train/latin': b'caf\xc3\xa9 caf\xe9'})
  with pytest.raises(UserError, match=r'train/latin\.txt is not UTF-8: invalid byte 0xe9 at offset 9'):
    splits(text_config(tmp_path))


def test_training_a_tokenizer_requires_a_train_split(tmp_path):
  source = text_config(write(tmp_path, {'test/a': 'A'})).open(NOWHERE)
  with pytest.raises(UserError, match="trained on the split 'train', and the data have only test"):
    _ = source.training


def test_the_key_of_files_changes_when_a_file_changes(tmp_path):
  def key():
    return text_config(tmp_path).open(NOWHERE).training.key

  write(tmp_path, {'train/a': 'A', 'train/b': 'B'})
  first = key()
  assert key() == first
  write(tmp_path, {'train/b': 'BB'})
  second = key()
  (tmp_path / 'train/b.txt').rename(tmp_path / 'train/c.txt')
  assert len({first, second, key()}) == 3


def test_the_key_of_documents_in_memory_depends_on_their_content():
  documents = [InMemoryDocuments([Document('a', text)]) for text in ('x', 'x', 'y')]
  assert read(documents[0]) == {'a': 'x'}
  assert [each.key == documents[0].key for each in documents] == [True, True, False]
