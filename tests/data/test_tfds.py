"""Prepared TFDS datasets."""

import json
import os
import re
import shutil

import pytest
from array_record.python import array_record_module

from infformer_jax.data import pg19, tfds
from infformer_jax.errors import UserError
from tests.data.books import TITLES, splits
from tests.data.texts import NOWHERE


def test_titles_with_commas_quotes_and_line_breaks_are_preserved(prepared):
  config = tfds.TfdsConfig(source_dir=str(prepared / 'pg19' / pg19.VERSION), text_feature='book_title')
  titles = [title for own in splits(config).values() for title in own.values()]
  assert sorted(titles) == sorted(TITLES.values())


def test_datasets_that_cannot_be_read_are_rejected(prepared, tmp_path):
  version = prepared / 'pg19' / pg19.VERSION
  with pytest.raises(
    UserError, match=r"data\.text_feature = 'text' must be a text of .* \(allowed: book_link, book_text"
  ):
    tfds.TfdsConfig(source_dir=str(version)).open(NOWHERE)
  with pytest.raises(
    UserError,
    match=r"data\.source_dir = '.*' must be a prepared TFDS dataset, with a dataset_info\.json",
  ):
    tfds.TfdsConfig(source_dir=str(prepared)).open(NOWHERE)
  copy = shutil.copytree(version, tmp_path / 'pg19' / pg19.VERSION)
  info = json.loads((copy / 'dataset_info.json').read_text())
  (copy / 'dataset_info.json').write_text(json.dumps(info | {'fileFormat': 'tfrecord'}))
  with pytest.raises(
    UserError,
    match=r"data\.source_dir = '.*' must be a dataset with random access .*file_format='array_record'",
  ):
    tfds.TfdsConfig(source_dir=str(copy), text_feature='book_text').open(NOWHERE)


@pytest.mark.parametrize(
  ('damage', 'reason'),
  [
    (lambda content, both: content[:100] + b'?' + content[101:], 'Corrupted Riegeli/records file: .*'),
    (lambda content, both: content[: len(content) // 2], '.*'),
    (lambda content, both: content[:1000], 'ArrayRecord file should be at least 64KB big'),
    (lambda content, both: content[: 2**16], 'it cannot be read'),
    (lambda content, both: both, 'it has 2 of 1 records'),
    (None, 'it is missing'),
  ],
)
def test_a_damaged_file_of_records_is_named(prepared, tmp_path, damage, reason):
  copy = shutil.copytree(prepared, tmp_path / 'data') / 'pg19' / pg19.VERSION
  (both,) = copy.glob('pg19-train.*')
  first, file = (copy / f'pg19-train.array_record-0000{shard}-of-00002' for shard in range(2))
  reader = array_record_module.ArrayRecordReader(str(both))
  for path, record in zip((first, file), reader.read_all(), strict=True):
    writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
    writer.write(record)
    writer.close()
  reader.close()
  content_of_both = both.read_bytes()
  both.unlink()
  info = json.loads((copy / 'dataset_info.json').read_text())
  next(split for split in info['splits'] if split['name'] == 'train')['shardLengths'] = ['1', '1']
  (copy / 'dataset_info.json').write_text(json.dumps(info))
  assert splits(pg19.Pg19Config(data_dir=str(tmp_path / 'data')))['train'].keys() == {'1', '2'}
  content = file.read_bytes()
  file.unlink()
  if damage:
    file.write_bytes(damage(content, content_of_both))
  with pytest.raises(UserError) as caught:
    splits(pg19.Pg19Config(data_dir=str(tmp_path / 'data')))
  assert re.fullmatch(
    rf'{file} is damaged \({reason}\); prepare the dataset again .* --overwrite .*', str(caught.value)
  )


@pytest.mark.parametrize('name', ['dataset_info.json', 'features.json'])
@pytest.mark.parametrize('content', ['{}', '{"a', '[]', '[' * 100_000, '{"pythonClassName": "x.Y"}'])
def test_a_damaged_description_is_one_line(prepared, tmp_path, name, content):
  copy = shutil.copytree(prepared, tmp_path / 'data') / 'pg19' / pg19.VERSION
  (copy / name).write_text(content)
  with pytest.raises(UserError, match=r'dataset_info.json or features.json is damaged \(.*prepare the data'):
    pg19.Pg19Config(data_dir=str(tmp_path / 'data')).open(NOWHERE)


def test_a_description_that_is_a_pipe_is_named(prepared, tmp_path):
  copy = shutil.copytree(prepared, tmp_path / 'data') / 'pg19' / pg19.VERSION
  (copy / 'features.json').unlink()
  os.mkfifo(copy / 'features.json')
  with pytest.raises(UserError, match=r'features.json is damaged \(it is missing, or no regular file\)'):
    pg19.Pg19Config(data_dir=str(tmp_path / 'data')).open(NOWHERE)
