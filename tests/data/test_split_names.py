"""Splits by names of folders and files."""

import pytest

from infformer_jax.data.split_names import divided
from infformer_jax.errors import UserError


def splits(*names):
  division = divided(names, key='K')
  return None if division is None else (division.splits, division.outside)


def test_top_level_folders_have_precedence():
  assert splits('Train/a', 'dev/test.txt', 'notes', 'other/b') == (
    {'train': ['Train/a'], 'validation': ['dev/test.txt']},
    ['notes', 'other/b'],
  )
  assert splits('train/a', 'valid/b', 'test/c')[0] == {
    'train': ['train/a'], 'validation': ['valid/b'], 'test': ['test/c'],
  }  # fmt: skip
  assert splits('en/train/a', 'en/test/b', 'de/train/c') == (
    {'train': ['en/train/a', 'de/train/c'], 'test': ['en/test/b']},
    [],
  )


@pytest.mark.parametrize(
  'names',
  [
    ('train.txt', 'valid.txt', 'test.txt'),
    ('train-00000-of-00010.jsonl', 'val-00000-of-00001.jsonl', 'test.jsonl'),
    ('wiki.train.tokens', 'wiki.valid.tokens', 'wiki.test.tokens'),
    ('en/wikitext_training.raw', 'de/wikitext_DEV.raw', 'Test2.raw'),
  ],
)
def test_names_of_files_state_their_splits(names):
  train, validation, test = names
  assert splits(*names) == ({'train': [train], 'validation': [validation], 'test': [test]}, [])


@pytest.mark.parametrize('names', [('a', 'b'), ('test-driven.txt', 'b'), ('latest',), ('train-to-test',)])
def test_other_names_state_no_split(names):
  assert splits(*names) is None


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (
      ('test.txt', 'a.txt'),
      'K has test.txt with the name of a split, and other files such as a.txt;',
    ),
    (('a', 'x/test-00000-of-00002.jsonl'), 'K has x/test-00000-of-00002.jsonl with'),
    (
      ('README', 'wiki.test.tokens', 'wiki.train.tokens'),
      'test.tokens and wiki.train.tokens with .* README;',
    ),
    (('README', 'en/train/a', 'en/val/b'), 'K has en/train and en/val with'),
    (('en/b', 'en/c', 'en/test/a'), 'K has en/test with the name of a split, and other files such as en/b;'),
    (('a.txt', 'corpus.test.txt'), 'K has corpus.test.txt with'),
    (('train.txt', 'valid/a'), 'K has train.txt with'),
    (('valid/a', 'val/b'), "K has two names for the split 'validation': valid and val; use only one of them"),
    (('train/a', 'Train/b'), "two names for the split 'train': train and Train"),
    (('train.txt', 'dev.txt', 'val.txt'), "two names for the split 'validation': dev and val"),
  ],
)
def test_ambiguous_names_are_refused(names, message):
  with pytest.raises(UserError, match=message):
    splits(*names)


@pytest.mark.parametrize(
  ('names', 'again'),
  [
    (['train/a', 'valid/b'], {'valid/c': 'train/a'}),
    (['train/a', 'valid/b'], {'train/o/back/': 'valid/'}),
    (['train.txt', 'valid.txt'], {'test.txt': 'train.txt'}),
    (['en/train/a', 'en/test/b'], {'de/test/': 'en/train/'}),
  ],
)
def test_one_file_in_two_splits_is_an_error(names, again):
  ((name, first),) = again.items()
  with pytest.raises(UserError, match=f'^K has {first} also as {name}, which is another split; remove one'):
    divided(names, again=again, key='K')
  same = dict.fromkeys((first, f'other/{first}'), first)
  assert divided(names, again=same, key='K') == divided(names, key='K')
