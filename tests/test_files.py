"""Atomic writes and locks."""

import json
import multiprocessing
import os
import pathlib
import signal

import pytest

from infformer_jax import files
from infformer_jax.errors import UserError

_PROCESSES = multiprocessing.get_context('spawn')


def test_a_file_appears_only_when_it_is_complete(tmp_path):
  with files.write_atomically(tmp_path / 'a') as partial:
    partial.write_text('new')
    assert not (tmp_path / 'a').exists()
  assert (tmp_path / 'a').read_text() == 'new'
  assert os.listdir(tmp_path) == ['a']


def test_an_error_keeps_the_old_content_and_leaves_no_other_files(tmp_path):
  files.write_text(tmp_path / 'a', 'old')
  with pytest.raises(TypeError, match='must be str'), files.write_atomically(tmp_path / 'a') as partial:
    partial.open('w').writelines(['half', 0])
  assert (tmp_path / 'a').read_text() == 'old'
  assert os.listdir(tmp_path) == ['a']


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError), files.write_atomically(tmp_path / 'a'):
    pass
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('before', [None, ['old', 'older']])
def test_a_folder_appears_complete_and_replaces_an_existing_one(tmp_path, before):
  folder = tmp_path / 'folder'
  for name in before or ():
    folder.mkdir(exist_ok=True)
    (folder / name).write_text('old')
  with files.write_atomically(folder) as partial:
    partial.mkdir()
    (partial / 'new').write_text('new')
  assert os.listdir(folder) == ['new']
  assert os.listdir(tmp_path) == ['folder']


def test_an_error_removes_an_incomplete_folder(tmp_path):
  with pytest.raises(FileExistsError), files.write_atomically(tmp_path / 'folder') as partial:
    [(partial / 'half').mkdir(parents=True) for _ in range(2)]
  assert os.listdir(tmp_path) == []


def test_two_writers_of_one_path_do_not_interfere(tmp_path):
  with files.write_atomically(tmp_path / 'a') as first, files.write_atomically(tmp_path / 'a') as second:
    first.write_text('first')
    second.write_text('second')
  assert (tmp_path / 'a').read_text() == 'first'  # Its block ended last.
  assert os.listdir(tmp_path) == ['a']


def test_a_temporary_folder_can_get_a_name_that_depends_on_its_content(tmp_path):
  with files.temporary(tmp_path / 'a') as partial:
    partial.mkdir()
    (partial / 'file').write_text('new')
    files.replace(partial, tmp_path / 'new')
  assert os.listdir(tmp_path) == ['new']
  with pytest.raises(ZeroDivisionError), files.temporary(tmp_path / 'a') as partial:
    partial.write_text(str(1 / 0))
  assert os.listdir(tmp_path) == ['new']


def test_a_file_is_written_with_its_folders_and_replaced(place):
  path = place / 'new' / 'folder' / 'a'
  for content in (b'old\r', b'new'):
    files.write_bytes(path, content)
    assert path.read_bytes() == content
  assert [each.name for each in path.parent.iterdir()] == ['a']


def test_json_is_indented_and_rejects_values_that_are_not_finite(place):
  files.write_json(place / 'a.json', {'x': [1]})
  text = (place / 'a.json').read_text()
  assert json.loads(text) == {'x': [1]}
  assert text.count('\n') == 5
  with pytest.raises(ValueError, match='not JSON compliant'):
    files.write_json(place / 'a.json', float('nan'))
  assert (place / 'a.json').read_text() == text


def _write_half(path: pathlib.Path) -> None:
  with files.write_atomically(path) as partial:
    partial.mkdir()
    os.kill(os.getpid(), signal.SIGKILL)


def test_temporary_files_of_a_killed_process_can_be_removed(tmp_path):
  process = _PROCESSES.Process(target=_write_half, args=(tmp_path / 'folder',))
  process.start()
  process.join()
  (tmp_path / 'folder2').mkdir()
  assert len(os.listdir(tmp_path)) == 2
  files.remove_partial(tmp_path / 'folder')
  assert os.listdir(tmp_path) == ['folder2']


@pytest.mark.timeout(20)
def test_what_is_in_the_place_of_a_folder_is_removed(tmp_path):
  """Also a pipe, which shutil.rmtree would open, and a link, but not what it points to."""
  kept, path = tmp_path / 'kept', tmp_path / 'path'
  kept.mkdir()
  creates = (path.mkdir, path.touch, lambda: os.mkfifo(path), lambda: path.symlink_to(kept), lambda: None)
  for create in creates:
    create()
    files.remove(path)
    assert os.listdir(tmp_path) == ['kept']


def _hold(path: pathlib.Path, connection) -> None:
  with files.lock(path, wait=False):
    connection.send('held')
    connection.recv()


def test_a_lock_excludes_other_processes_until_its_holder_is_killed(tmp_path):
  path = tmp_path / 'lock'
  here, there = _PROCESSES.Pipe()
  process = _PROCESSES.Process(target=_hold, args=(path, there))
  process.start()
  assert here.recv() == 'held'
  with pytest.raises(BlockingIOError), files.lock(path, wait=False):
    pass
  process.kill()
  process.join()
  with files.lock(path, wait=True):
    pass


def test_a_lock_is_released_when_the_block_ends_with_an_error(tmp_path):
  with pytest.raises(ZeroDivisionError), files.lock(tmp_path / 'lock', wait=False):
    _ = 1 / 0
  with files.lock(tmp_path / 'lock', wait=False):
    pass


@pytest.mark.parametrize('content', [b'', b'[]', b'null', b'{}', b'{"a": 1', b'\xff', b'[' * 100_000])
def test_a_damaged_json_file_is_named(content, tmp_path):
  (tmp_path / 'a.json').write_bytes(content)
  with pytest.raises(UserError, match=r'a\.json is damaged .*; restore or remove it'):
    files.read_json(tmp_path / 'a.json', {'b': int})


def test_a_value_of_another_type_in_a_json_file_is_named(tmp_path):
  files.write_json(tmp_path / 'a.json', {'b': 'x', 'c': None})
  with pytest.raises(UserError, match=r'a\.json is damaged \(b is a str, not a int\); restore or remove it'):
    files.read_json(tmp_path / 'a.json', {'b': int})
  assert files.read_json(tmp_path / 'a.json', {'b': object, 'c': object})['c'] is None


def test_an_intact_json_file_is_read_and_a_missing_one_named(place):
  files.write_json(place / 'a.json', {'b': 1})
  assert files.read_json(place / 'a.json', {'b': int}) == {'b': 1}
  with pytest.raises(UserError, match=r'cannot read .*none\.json: No such file'):
    files.read_json(place / 'none.json')
