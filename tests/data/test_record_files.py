"""JSON lines and Parquet: files of many documents."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from infformer_jax.data import record_files
from infformer_jax.errors import UserError
from tests.data.test_text_files import write_compressed


def read(path, indices, field='text'):
  return list(record_files.read(path, field, indices))


@pytest.mark.parametrize('name', ['a.jsonl', 'a.jsonl.gz', 'a.jsonl.zst'])
def test_every_line_is_a_record(name, tmp_path):
  texts = ['one', 'two\n\x85', '', 'é']
  lines = [
    json.dumps({'id': 1, 'text': text}, ensure_ascii=index % 2 == 0) for index, text in enumerate(texts)
  ]
  content = f'\ufeff{lines[0]}\r\n\n{lines[1]}\n  \n{lines[2]}\n{lines[3]}'.encode()
  path = write_compressed(tmp_path / name, content)
  assert record_files.is_records(name)
  assert len(record_files.sizes(path)) == 4
  assert read(path, range(4)) == [(1, 'one'), (3, 'two\n\x85'), (5, ''), (6, 'é')]
  assert read(path, [1, 3]) == [(3, 'two\n\x85'), (6, 'é')]


def test_every_row_of_parquet_is_a_record(tmp_path):
  texts = [f'text {index}' for index in range(1000)]
  parquet.write_table(pyarrow.table({'id': range(1000), 'content': texts}), tmp_path / 'a.parquet')
  assert len(record_files.sizes(tmp_path / 'a.parquet')) == 1000
  assert read(tmp_path / 'a.parquet', [0, 700], 'content') == [(1, 'text 0'), (701, 'text 700')]
  with pytest.raises(UserError, match=r"data\.text_field = 'text' must be a key of .* \(allowed: id, con"):
    read(tmp_path / 'a.parquet', [0])
  with pytest.raises(UserError, match=r"data\.text_field = 'id' of .*a.parquet, row 1 must be a text"):
    read(tmp_path / 'a.parquet', [0], 'id')
  (tmp_path / 'a.parquet').write_bytes(b'text')
  with pytest.raises(UserError, match=r'a.parquet is damaged \(.*\); restore or remove it'):
    record_files.sizes(tmp_path / 'a.parquet')


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    (b'{"text": "x"', r'a.jsonl, line 2 is not JSON \(.*\); correct or remove the line'),
    (b'["x"]', 'a.jsonl, line 2 must be a JSON object, not list'),
    (b'{"txt": "x"}', r"data.text_field = 'text' must be a key of .*a.jsonl, line 2 \(allowed: txt\)"),
    (b'{"text": null}', "data.text_field = 'text' of .*a.jsonl, line 2 must be a text, not NoneType"),
    (b'{"text": "caf\xe9"}', 'a.jsonl, line 2 is not UTF-8: invalid byte 0xe9 at offset 13 of the line'),
    (b'{"text": "\\ud83d"}', r"a.jsonl, line 2 has '\\ud83d', which is half of a character"),
  ],
)
def test_a_line_that_is_no_document_is_an_error_with_its_number(line, message, tmp_path):
  (tmp_path / 'a.jsonl').write_bytes(b'{"text": "x"}\n' + line + b'\n')
  with pytest.raises(UserError, match=message):
    read(tmp_path / 'a.jsonl', range(2))


def test_a_file_that_becomes_shorter_is_an_error(tmp_path):
  (tmp_path / 'a.jsonl').write_text('{"text": "x"}\n')
  with pytest.raises(UserError, match='a.jsonl has become shorter while it was read; start again'):
    read(tmp_path / 'a.jsonl', range(2))
