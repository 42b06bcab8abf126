"""Text files, plain and compressed."""

import gzip
import os
import threading

import pyarrow
import pytest

from infformer_jax.data.text_files import read_utf8
from infformer_jax.errors import UserError


def write_compressed(path, content):
  """Writes bytes, compressed as the suffix says."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == '.zst':
    with pyarrow.output_stream(path, compression='zstd') as file:
      file.write(content)
  else:
    path.write_bytes(gzip.compress(content) if path.suffix == '.gz' else content)
  return path


@pytest.mark.parametrize('name', ['a.txt', 'a.txt.gz', 'a.TXT.ZST', 'a.zst', 'a.gz'])
def test_texts_are_decompressed_and_have_no_byte_order_mark(name, tmp_path):
  text = 'é\r\n\x0b\x85\ufeff' * 30_000
  path = write_compressed(tmp_path / name.lower(), f'\ufeff{text}'.encode()).rename(tmp_path / name)
  assert read_utf8(path) == text


@pytest.mark.parametrize('name', ['a.txt.gz', 'a.txt.zst'])
def test_damaged_files_are_an_error(name, tmp_path):
  path = write_compressed(tmp_path / name, bytes(range(256)) * 99)
  content = path.read_bytes()
  for damaged in (content[:-20], b'plain text' * 99):
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=rf'{name} is damaged \(.*\); restore it, or remove it from the data'):
      read_utf8(path)


def test_a_file_in_a_bucket_is_read_as_one_on_a_disk(folder_in_bucket, tmp_path):
  content = write_compressed(tmp_path / 'a.txt.gz', b'text').read_bytes()
  for name, stored in (('a.txt.gz', content), ('short.gz', content[:-9]), ('plain.txt', b'text')):
    (folder_in_bucket / name).write_bytes(stored)
  assert read_utf8(folder_in_bucket / 'a.txt.gz') == read_utf8(folder_in_bucket / 'plain.txt') == 'text'
  with pytest.raises(UserError, match=r'short.gz is damaged \(.*\); restore it'):
    read_utf8(folder_in_bucket / 'short.gz')
  with pytest.raises(UserError, match='cannot read gs://.*gone: No such file or directory; give a file that'):
    read_utf8(folder_in_bucket / 'gone')


def test_files_that_cannot_be_read_are_an_error(tmp_path):
  with pytest.raises(UserError, match='cannot read .*gone.gz: No such file or directory; give a file that'):
    read_utf8(tmp_path / 'gone.gz')
  with pytest.raises(UserError, match='a.txt.gz is not UTF-8: invalid byte 0xe9 at offset 6; convert'):
    read_utf8(write_compressed(tmp_path / 'a.txt.gz', b'\xef\xbb\xbfcaf\xe9'))
  with pytest.raises(UserError, match='a.tar.gz is an archive; unpack it'):
    read_utf8(tmp_path / 'a.tar.gz')


def test_a_device_is_refused_and_a_pipe_is_read(tmp_path):
  (tmp_path / 'zeros').symlink_to('/dev/zero')
  with pytest.raises(UserError, match='cannot read .*zeros: a device, not a file; give a file that exists'):
    read_utf8(tmp_path / 'zeros')
  os.mkfifo(tmp_path / 'pipe')
  writer = threading.Thread(target=(tmp_path / 'pipe').write_text, args=['one two'])
  writer.start()
  assert read_utf8(tmp_path / 'pipe') == 'one two'
  writer.join()
