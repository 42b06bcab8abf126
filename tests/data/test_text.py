"""Corpora of text files."""

import pytest

from infformer_jax.errors import UserError
from tests.data.texts import NOWHERE, splits, text_config, write


def test_folders_with_names_of_splits_define_the_splits(tmp_path):
  write(tmp_path, {'train/a': 'A', 'train/deep/b': 'B', 'test/c': 'C', 'stray': 'S', 'train/.hidden': 'H'})
  assert splits(text_config(tmp_path)) == {
    'train': {'train/a.txt': 'A', 'train/deep/b.txt': 'B'},
    'test': {'test/c.txt': 'C'},
  }
  assert list(splits(text_config(tmp_path / '*/*.txt'))['train']) == ['train/a.txt']


def test_without_folders_a_stable_hash_defines_the_splits(tmp_path):
  write(tmp_path, {f'{i}': f'text {i}' for i in range(100)})
  divided = splits(text_config(tmp_path))
  assert {name: len(own) for name, own in divided.items()} == {'train': 95, 'validation': 5}
  assert splits(text_config(tmp_path / '*.txt')) == divided
  write(tmp_path, {name[:-4]: 'another text' for name in divided['validation']})
  assert list(splits(text_config(tmp_path))['validation']) == list(divided['validation'])


def test_text_is_read_without_conversions(tmp_path):
  text = '\ufeffa\r\nb\rc\n\x00'
  write(tmp_path, {'train/a': text})
  assert splits(text_config(tmp_path))['train']['train/a.txt'] == text


@pytest.mark.parametrize(
  ('texts', 'source', 'message'),
  [
    ({}, 'nowhere', r"data\.source_dir = '.*nowhere' does not exist"),
    ({}, '.', r"data\.source_dir = '.*' has no files"),
    ({}, '*.txt', r"data\.source_dir = '.*\*\.txt' matches no file"),
    ({'a': 'A'}, '.', r"data\.source_dir = '.*' has a single file, which cannot serve for both training and"),
    ({'a': 'A'}, 'a.txt', 'a single file'),
  ],
)
def test_missing_files_are_an_error(texts, source, message, tmp_path):
  write(tmp_path, texts)
  with pytest.raises(UserError, match=message):
    text_config(tmp_path / source).open(NOWHERE)
