"""Folders on a disk and in a bucket: what identifies their files, and local copies."""

import dataclasses
import os

import pytest

from infformer_jax import objects, paths
from infformer_jax.data import listing
from infformer_jax.data.folders import Copies, flat, open_tree
from infformer_jax.errors import UserError
from tests.data.texts import write

TEXTS = {'x': 'X', 'deep/y': 'Y'}


@pytest.fixture(params=['disk', 'bucket'])
def root(request, tmp_path):
  """An empty folder."""
  if request.param == 'disk':
    return paths.parse(str(tmp_path / 'disk'), 'data.source_dir')
  return request.getfixturevalue('folder_in_bucket') / 'folder'


def files(root, copies='C'):
  return flat(root, 'KEY = V', Copies(copies, 'data.cache_dir'))


def test_a_tree_has_the_entries_of_its_folders_in_the_order_of_names(root):
  write(root, TEXTS)
  tree = open_tree(root, 'KEY')
  assert (tree.is_dir, tree.is_file) == (True, False)
  top = tree.entries(os.fspath(root))
  assert [(entry.name, entry.is_dir(), entry.is_file()) for entry in top] == [
    ('deep', True, False),
    ('x.txt', False, True),
  ]
  (inside,) = tree.entries(top[0].path)
  assert (inside.path, tree.stat(inside.path).size) == (f'{os.fspath(root)}/deep/y.txt', 1)
  file, nothing = open_tree(root / 'x.txt', 'KEY'), open_tree(root / 'nothing', 'KEY')
  assert (file.is_file, file.is_dir) == (True, False)
  assert file.stat(f'{os.fspath(root)}/x.txt') == tree.stat(top[1].path)
  assert (nothing.is_file, nothing.is_dir) == (False, False)


def test_the_key_depends_on_names_and_content_and_the_outline_on_names_and_sizes(root):
  keys, outlines = [], []
  for texts in ({'x': 'X', 'y': 'Y'}, {'x': 'X', 'y': 'Z'}, {'x': 'X', 'y': 'YY'}, {'x': 'X', 'z': 'YY'}):
    if root.exists():
      root.rmtree()
    write(root, texts)
    for name in texts:
      if paths.is_local(root):  # Another content has another time.
        os.utime(root / f'{name}.txt', (1, 1 if texts[name] == 'X' else len(keys)))
    found = files(root)
    keys.append(found.key(found.stats))
    outlines.append(found.outline(found.stats))
    assert found.key(['x.txt']) == files(root).key(['x.txt'])
  assert len(set(keys)) == 4
  assert outlines[0] == outlines[1]
  assert len(set(outlines)) == 3


def test_files_on_a_disk_have_another_key_in_another_place_and_those_in_a_bucket_do_not(root):
  for place in 'ab':
    write(root / place, {'x': 'X'})
    if paths.is_local(root):
      os.utime(root / place / 'x.txt', (1, 1))
  a, b = files(root / 'a'), files(root / 'b')
  assert (a.key(a.stats) == b.key(b.stats)) == (not paths.is_local(root))
  assert a.outline(a.stats) == b.outline(b.stats)


def test_files_on_a_disk_are_read_there_and_those_in_a_bucket_from_copies(root, tmp_path):
  write(root, {'x': 'X', 'y': 'Y'})
  found = files(root, copies=tmp_path / 'C')
  folder = found.local(['x.txt'])
  assert (folder / 'x.txt').read_text() == 'X'
  assert (folder == root) == paths.is_local(root)
  assert (folder / 'y.txt').exists() == paths.is_local(root)
  write(root, {'x': 'changed'})
  assert (files(root, copies=tmp_path / 'C').local(['x.txt']) / 'x.txt').read_text() == 'changed'


def test_copies_are_verified_once_and_intact_ones_need_no_lock(folder_in_bucket, tmp_path, monkeypatch):
  write(folder_in_bucket, {'x': 'X', 'y': 'Y'})
  folder = files(folder_in_bucket, copies=tmp_path / 'C').local(['x.txt', 'y.txt'])
  (folder / 'y.txt').write_text('Z')
  with monkeypatch.context() as patch:
    patch.setattr('infformer_jax.files.lock', lambda *args, **settings: pytest.fail('locked'))
    found = files(folder_in_bucket, copies=tmp_path / 'C')
    assert found.local(['x.txt']) == folder
    patch.setattr('infformer_jax.data.buckets._crc32c', lambda path: pytest.fail('verified again'))
    found.local(['x.txt'])
  found.local(['x.txt', 'y.txt'])
  assert (folder / 'y.txt').read_text() == 'Y'


def test_a_copy_that_cannot_be_made_is_one_line_that_names_place_and_key(folder_in_bucket, tmp_path):
  found = files(write(folder_in_bucket, {'x': 'X'}), copies=tmp_path / 'C')
  (tmp_path / 'C').write_text('a file')
  with pytest.raises(
    UserError, match=r'^gs://bucket/.* cannot be copied to data\.cache_dir = .*/C: .*; correct'
  ):
    found.local(['x.txt'])
  (tmp_path / 'C').unlink()
  (folder_in_bucket / 'x.txt').unlink()
  with pytest.raises(UserError, match='cannot be copied to .*: No such file or directory; correct'):
    found.local(['x.txt'])


def test_an_object_with_others_below_it_is_an_error_that_names_both(folder_in_bucket, tmp_path):
  for name in ('train/a.txt', 'train/a.txt/b.txt'):
    objects.write(folder_in_bucket / name, b'text')
  found = listing.walk(folder_in_bucket, workdir=None, key='KEY', copies=Copies(tmp_path, 'KEY'))
  with pytest.raises(UserError, match='has the object train/a.txt and also train/a.txt/b.txt, .*; rename or'):
    found.files.local(['train/a.txt'])
  assert not list(tmp_path.iterdir())


def test_a_file_that_has_disappeared_is_an_error(tmp_path):
  with pytest.raises(UserError, match='cannot read .*gone: No such file'):
    open_tree(paths.parse(str(tmp_path), 'KEY'), 'KEY').stat(str(tmp_path / 'gone'))


def test_a_folder_that_does_not_exist_has_no_files(root):
  assert dataclasses.asdict(files(root / 'nothing'))['stats'] == {}
