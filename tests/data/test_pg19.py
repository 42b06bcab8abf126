"""PG-19: its layout, what TFDS prepares from it, and any other prepared dataset."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from infformer_jax.data import pg19, prepare, registry, tfds, tokenizers
from infformer_jax.errors import ConfigError, UserError

BOOKS = {
  'train/1': 'One.\r\n\r\nTwo.\n',
  'train/2': ' é \U0001f600',
  'validation/30': 'x y',
  'test/4': 'z z',
}
METADATA = (
  '1,"Emma, or: the ""match"" maker",1815,http://a/1\n2,Käthe,1900,http://a/2\n'
  '30,Plain,1901,http://a/30\n4,"Two\nlines",1902,http://a/4\n'
)
TITLES = {'1': 'Emma, or: the "match" maker', '2': 'Käthe', '30': 'Plain', '4': 'Two\nlines'}


def write_books(root, books=BOOKS, metadata=METADATA):
  for name, text in books.items():
    path = root / f'{name}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
  (root / 'metadata.csv').write_text(metadata)
  return root


def splits(config):
  divided = registry.source(config).splits(tokenizers.Bytes())
  return {name: dict(own[i] for i in range(len(own))) for name, own in divided.items()}


def run(source_dir, data_dir, *flags):
  return prepare.main(['pg19', f'--source_dir={source_dir}', f'--data_dir={data_dir}', *flags])


def error_of(capsys):
  """The one line of an error."""
  out, err = capsys.readouterr()
  assert not out
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  return err


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  root = tmp_path_factory.mktemp('pg19')
  assert run(write_books(root / 'copy'), root / 'data') == 0
  return root / 'data'


def test_the_layout_of_the_bucket(tmp_path):
  assert splits(pg19.Pg19Config(source_dir=str(write_books(tmp_path)))) == {
    'train': {'train/1.txt': BOOKS['train/1'], 'train/2.txt': BOOKS['train/2']},
    'validation': {'validation/30.txt': 'x y'},
    'test': {'test/4.txt': 'z z'},
  }


def test_prepared_books_are_the_same(prepared):
  assert splits(pg19.Pg19Config(data_dir=str(prepared))) == {
    'train': {'1': BOOKS['train/1'], '2': BOOKS['train/2']},
    'validation': {'30': 'x y'},
    'test': {'4': 'z z'},
  }


def test_titles_with_commas_quotes_and_line_ends_stay_whole(prepared):
  config = tfds.TfdsConfig(source_dir=str(prepared / 'pg19' / pg19.VERSION), text_feature='book_title')
  titles = [title for own in splits(config).values() for title in own.values()]
  assert sorted(titles) == sorted(TITLES.values())


def test_tfds_itself_reads_what_was_prepared_and_needs_no_tensorflow(prepared):
  script = (
    'import sys, tensorflow_datasets as tfds\n'
    "books = tfds.data_source('pg19', split='test', data_dir=sys.argv[1],"
    " builder_kwargs={'file_format': 'array_record'})\n"
    "print(*sorted(books[0]), books[0]['book_id'], 'tensorflow' in sys.modules)\n"
  )
  done = subprocess.run([sys.executable, '-c', script, prepared], capture_output=True, text=True, check=True)
  assert done.stdout == 'book_id book_link book_text book_title publication_date 4 False\n'


def test_preparing_again_needs_to_be_asked_for(tmp_path, capsys):
  books, data_dir = write_books(tmp_path / 'copy'), tmp_path / 'data'
  assert run(books, data_dir) == 0
  assert capsys.readouterr().out == f'prepared {data_dir}/pg19/{pg19.VERSION}\n'
  assert run(books, data_dir) == 2
  assert 'is there already; give --overwrite' in error_of(capsys)
  write_books(books, {'train/1': 'New.'})
  (data_dir / 'pg19.partial' / 'of a run that was killed').mkdir(parents=True)
  assert run(books, data_dir, '--overwrite') == 0
  assert splits(pg19.Pg19Config(data_dir=str(data_dir)))['train']['1'] == 'New.'
  assert [path.name for path in data_dir.iterdir()] == ['pg19'], 'nothing is left over'


@pytest.mark.parametrize(
  ('books', 'metadata', 'message'),
  [
    ({}, METADATA, 'has no books; in the layout of PG-19'),
    (BOOKS | {'train/5': 'five'}, METADATA, r'metadata.csv has no row for the book .*train/5.txt'),
    (BOOKS | {'train/notes': 'n'}, METADATA, r'metadata.csv has no row for the book .*train/notes.txt'),
    (BOOKS, METADATA + '5,a,b\n', "metadata.csv, row 5: expected 'ID,title,year,link' and found '5,a,b'"),
    (
      BOOKS | {'train/2': b'caf\xe9'},
      METADATA,
      r'train/2.txt is not UTF-8: wrong byte 0xe9 at byte offset 3',
    ),
  ],
)
def test_wrong_copies_leave_what_was_prepared(books, metadata, message, tmp_path, capsys):
  data_dir = tmp_path / 'data'
  old = data_dir / 'pg19' / pg19.VERSION / 'old'
  old.mkdir(parents=True)
  (tmp_path / 'copy').mkdir()
  assert run(write_books(tmp_path / 'copy', books, metadata), data_dir, '--overwrite') == 2
  assert re.search(message, error_of(capsys))
  assert old.exists()


def test_wrong_flags_are_one_line(capsys, tmp_path):
  assert prepare.main(['pg9', '--source_dir=a', '--data_dir=b']) == 2
  assert "'pg9'" in error_of(capsys)
  assert prepare.main(['pg19', '--source_dir=a']) == 2
  assert '--data_dir' in error_of(capsys)
  assert run(tmp_path / 'nowhere', tmp_path) == 2
  assert 'has no books' in error_of(capsys)


def test_absent_data_say_which_command_gets_them(tmp_path, monkeypatch):
  command = f'python -m infformer_jax.data.prepare pg19 --source_dir=COPY --data_dir={tmp_path} '
  with pytest.raises(UserError, match=command):
    registry.source(pg19.Pg19Config(data_dir=str(tmp_path)))
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  with pytest.raises(UserError, match=command):
    registry.source(pg19.Pg19Config())
  with pytest.raises(UserError, match='has no books'):
    registry.source(pg19.Pg19Config(source_dir=str(tmp_path)))
  with pytest.raises(ConfigError, match="source_dir = 'a' and data_dir = 'b': give one of them"):
    pg19.Pg19Config(source_dir='a', data_dir='b')


def test_prepared_datasets_that_cannot_be_read(prepared, tmp_path):
  version = prepared / 'pg19' / pg19.VERSION
  with pytest.raises(
    UserError, match="no text in the feature 'text'; data.text_feature can be book_link, book_text"
  ):
    registry.source(tfds.TfdsConfig(source_dir=str(version)))
  with pytest.raises(UserError, match=r'not a prepared TFDS dataset: it has no dataset_info\.json'):
    registry.source(tfds.TfdsConfig(source_dir=str(prepared)))
  copy = shutil.copytree(version, tmp_path / 'pg19' / pg19.VERSION)
  info = json.loads((copy / 'dataset_info.json').read_text())
  (copy / 'dataset_info.json').write_text(json.dumps(info | {'fileFormat': 'tfrecord'}))
  with pytest.raises(UserError, match=r"cannot be read at random; .*file_format='array_record'"):
    registry.source(tfds.TfdsConfig(source_dir=str(copy), text_feature='book_text'))
