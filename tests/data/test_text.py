"""Corpora of text files."""

import json

import pytest

from infformer_jax.data.text import TextConfig
from infformer_jax.errors import UserError
from tests.data.test_text_files import write_compressed
from tests.data.texts import BYTES, NOWHERE, read, splits, text_config, write


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


def test_the_files_that_have_been_validation_remain_so(tmp_path):
  """Work directories depend on the split by hash."""
  write(tmp_path, {f'book {i}': '' for i in range(40)} | {'test-driven': '', 'sub/book': ''})
  assert list(splits(text_config(tmp_path))['validation']) == ['book 39.txt', 'sub/book.txt']


def test_records_are_documents(tmp_path):
  lines = ''.join(json.dumps({'body': f'text {i}'}) + '\n' for i in range(40))
  write_compressed(tmp_path / 'S/train/a.jsonl.gz', lines.encode())
  write(tmp_path, {'S/train/b': 'B', 'S/valid/c': 'C', 'S/notes': 'N'})
  source = TextConfig(source_dir=str(tmp_path / 'S'), text_field='body').open(NOWHERE)
  found = {name: read(own) for name, own in source.splits(BYTES).items()}
  assert found['train'] == {f'train/a.jsonl.gz:{i + 1}': f'text {i}' for i in range(40)} | {
    'train/b.txt': 'B'
  }
  assert found['validation'] == {'valid/c.txt': 'C'}
  assert source.left_out == {'outside the folders of train, validation': ['notes.txt']}
  assert len(source.training.key) > 64, 'the key includes the field'


def test_one_file_of_records_serves_for_training_and_validation(tmp_path):
  lines = ''.join(json.dumps({'text': f'text {i}'}) + '\n' for i in range(100))
  path = write_compressed(tmp_path / 'a.jsonl', lines.encode())
  source = text_config(path).open(NOWHERE)
  found = {name: read(own) for name, own in source.splits(BYTES).items()}
  assert {name: len(own) for name, own in found.items()} == {'train': 95, 'validation': 5}
  assert found['train'] | found['validation'] == {f'a.jsonl:{i + 1}': f'text {i}' for i in range(100)}
  path.write_text('{"text": "x"}')
  with pytest.raises(
    UserError, match=r"data\.source_dir = '.*' has 1 of the 2 documents that training and validation need"
  ):
    splits(text_config(path))


def test_a_bucket_is_divided_and_read_as_a_folder_is(folder_in_bucket, tmp_path):
  texts = {'train/a': 'A', 'train/deep/b': 'B', 'test/c': 'C', 'stray': 'S', '.git/x': 'H', 'run/lock': ''}
  lines = ''.join(json.dumps({'text': f'text {i}'}) + '\n' for i in range(3))
  for root in (folder_in_bucket, tmp_path):
    write(
      write(root, texts), {'run/config.json': '{}', 'run/data.json': '{}', 'train/d.jsonl': lines}, suffix=''
    )
  for pattern in ('', '/train', '/**/*.txt', '/train/d.jsonl', '/t*/*'):
    remote, local = (text_config(f'{root}{pattern}') for root in (folder_in_bucket, tmp_path))
    assert splits(remote) == splits(local)
    assert remote.open(NOWHERE).left_out == local.open(NOWHERE).left_out


def test_nothing_in_a_bucket_is_an_error_before_anything_else(folder_in_bucket):
  write(folder_in_bucket, {'a': 'A'})
  for place, problem in (
    ('none', 'does not exist'),
    ('*.md', 'matches no file'),
    ('none/*.txt', 'matches no file'),
  ):
    with pytest.raises(UserError, match=rf"data\.source_dir = 'gs://bucket/.*' {problem}"):
      text_config(folder_in_bucket / place).open(NOWHERE)


def test_text_is_read_without_conversions(tmp_path):
  text = 'a\r\nb\rc\n\ufeff\x00'
  write(tmp_path, {'train/a': text, 'train/b': f'\ufeff{text}'})  # A byte order mark is not part of the text.
  assert splits(text_config(tmp_path))['train'] == {'train/a.txt': text, 'train/b.txt': text}


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
