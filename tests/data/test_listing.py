"""Which files of a folder are data, and what is said about the others."""

import os

import pytest

from infformer_jax import objects
from infformer_jax.data import listing
from infformer_jax.data.folders import Copies
from infformer_jax.errors import UserError
from tests.data.texts import NOWHERE, write

COPIES = Copies(NOWHERE, 'data.cache_dir')


def find(source_dir, workdir=NOWHERE):
  return listing.find(str(source_dir), workdir, COPIES)


def test_linked_files_and_folders_are_followed(tmp_path):
  write(tmp_path, {'S/train/a': 'A', 'R/b': 'B', 'R/deep/c': 'C', 'R/d': 'D'})
  (tmp_path / 'S/train/more').symlink_to(tmp_path / 'R')
  (tmp_path / 'S/train/d.txt').symlink_to('../../R/d.txt')
  found = find(tmp_path / 'S')
  assert found.names == ['train/a.txt', 'train/d.txt', 'train/more/b.txt', 'train/more/deep/c.txt']
  assert found.left_out == {'file under another name': ['train/more/d.txt']}
  (tmp_path / 'L').symlink_to('S')
  assert find(tmp_path / 'L').names == found.names
  assert find(tmp_path / 'L/**/*.txt').names == found.names


def test_links_in_a_circle_are_followed_once(tmp_path):
  write(tmp_path, {'a/x': 'X', 'b/y': 'Y'})
  (tmp_path / 'a/self').symlink_to('.')
  (tmp_path / 'a/b').symlink_to('../b')
  (tmp_path / 'b/a').symlink_to('../a')
  (tmp_path / 'z').symlink_to('a')
  for source in (tmp_path, tmp_path / '**', tmp_path / '**/*.txt'):
    found = find(source)
    assert found.names == ['a/x.txt', 'b/y.txt']
    assert found.left_out == {
      'link to a folder above': ['a/self'],
      'folder under another name': ['a/b', 'b/a', 'z'],
    }


def test_a_name_in_a_folder_of_a_split_and_then_a_name_without_links_has_precedence(tmp_path):
  write(tmp_path, {'train/a': 'A', 'raw/b': 'B', 'raw/c': 'C', 'train/z': 'Z'})
  (tmp_path / 'current').symlink_to('train')
  (tmp_path / 'valid').mkdir()
  (tmp_path / 'valid/b.txt').symlink_to('../raw/b.txt')
  (tmp_path / 'train/m.txt').symlink_to('z.txt')
  found = find(tmp_path)
  assert found.names == ['raw/c.txt', 'train/a.txt', 'train/z.txt', 'valid/b.txt']
  assert found.again == {'train/m.txt': 'train/z.txt', 'raw/b.txt': 'valid/b.txt', 'current/': 'train/'}


def test_what_is_not_data_is_named_and_counted(tmp_path):
  write(tmp_path, {'a': 'A', '.hidden': 'H', '.git/x': 'G', 'b.1234.partial': 'P'}, suffix='')
  (tmp_path / 'gone').symlink_to('nowhere')
  (tmp_path / 'circle').symlink_to('circle')
  os.mkfifo(tmp_path / 'pipe')
  found = find(tmp_path)
  assert found.names == ['a']
  assert found.left_out == {
    'hidden': ['.git', '.hidden'],
    'temporary': ['b.1234.partial'],
    'dangling link': ['circle', 'gone'],
    'not a file': ['pipe'],
  }


def test_objects_whose_names_are_no_paths_are_named(folder_in_bucket):
  for name in ('', 'a.txt', 'b//c.txt', 'b/./d.txt'):
    objects.write(f'{folder_in_bucket}/{name}', b'text' if name else b'')
  found = find(folder_in_bucket)
  assert found.names == ['a.txt']
  assert found.left_out == {"name with an empty part, '.' or '..'": ['b/./d.txt', 'b//c.txt']}
  with pytest.raises(
    UserError, match=r'has no files \(left out: 2 name with an empty part.*: \./d.txt, /c.txt'
  ):
    find(folder_in_bucket / 'b')


def test_the_work_directory_of_the_run_is_not_data(tmp_path):
  write(tmp_path, {'a': 'A', 'run/notes': 'N', 'runs/b': 'B'})
  (tmp_path / 'link').symlink_to('run')
  found = find(tmp_path, tmp_path / 'run')
  assert found.names == ['a.txt', 'runs/b.txt']
  assert found.left_out == {'work directory': ['run', 'link']}
  assert find(tmp_path / '*/*.txt', tmp_path / 'link').names == ['runs/b.txt']
  with pytest.raises(UserError, match=r"data\.source_dir = '.*' must not be the work directory itself; use"):
    find(tmp_path, tmp_path)
  assert find(tmp_path / 'runs', tmp_path).names == ['b.txt'], 'a folder of data may be inside it'


@pytest.mark.parametrize(
  'files',
  [
    ['config.json', 'data.json'],
    ['config.json', 'checkpoints/1/x'],
    ['lock', 'bpe_512.json'],
    ['CACHEDIR.TAG', 'tokens/x.lock'],
    ['points/a/config.json', 'ablation.json'],
    ['ids', 'about.json'],
  ],
)
def test_other_work_directories_are_recognized(files, tmp_path):
  write(tmp_path, {'a.txt': 'A', 'c/config.json': '{}', **{f'other/{name}': '' for name in files}}, suffix='')
  found = find(tmp_path)
  assert (found.names, found.left_out) == (['a.txt', 'c/config.json'], {'work directory': ['other']})
  with pytest.raises(UserError, match='seems to be a work directory or a part of one .*; give a folder'):
    find(tmp_path / 'other')


def test_a_glob_selects_as_a_shell_does(tmp_path):
  write(tmp_path, {'a': '', 'b/c': '', 'b/d/e': '', 'b/d/f': ''})
  write(tmp_path, {'b/d/g': ''}, suffix='.md')
  for pattern, names in (
    ('*.txt', ['a.txt']),
    ('*/*.txt', ['b/c.txt']),
    ('**/*.txt', ['a.txt', 'b/c.txt', 'b/d/e.txt', 'b/d/f.txt']),
    ('b/**', ['c.txt', 'd/e.txt', 'd/f.txt', 'd/g.md']),
    ('**/d/[ef].txt', ['b/d/e.txt', 'b/d/f.txt']),
    ('?/**/?.md', ['b/d/g.md']),
  ):
    assert find(tmp_path / pattern).names == names
  assert find(tmp_path / 'b/*').left_out == {'folder that the glob does not enter': ['d']}
  assert find(tmp_path / 'a.txt').names == ['a.txt']


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
  write(tmp_path, {'a/b': ''})

  def scandir(path, scandir=os.scandir):
    if str(path).endswith('a'):
      raise PermissionError(13, 'Permission denied', path)
    return scandir(path)

  monkeypatch.setattr(os, 'scandir', scandir)
  with pytest.raises(UserError, match=r'cannot read the folder .*/a: Permission denied; make it readable'):
    find(tmp_path)


def test_only_links_are_resolved_one_by_one(tmp_path, monkeypatch):
  """To resolve every file would take most of the time of a large folder."""
  write(tmp_path, {f'{index}/{index}': 'T' for index in range(200)})
  (tmp_path / 'z.txt').symlink_to('0/0.txt')
  resolved, realpath = [], os.path.realpath
  monkeypatch.setattr(os.path, 'realpath', lambda path: resolved.append(path) or realpath(path))
  assert len(find(tmp_path).names) == 200
  assert len(resolved) == 3  # the folder, the work directory and the link
