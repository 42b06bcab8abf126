"""WikiText, divided into articles."""

import os

import pytest

from infformer_jax.data.wikitext import WikitextConfig
from infformer_jax.errors import UserError
from tests.data.texts import BYTES, NOWHERE, read, write

GOLD = (
  ' \n = Gold = \n \n Gold is an <unk> . \n = 79 protons and so on = \n It is heavy . \n'
  ' \n = = Uses = = \n \n Coins . \n'
)
DU_FU = ' \n \n = Du Fu ( 杜甫 ) = \n \n Du Fu was a poet . \n \n = = = Poems = = = \n \n \n'
LAST = ' \n = Kiss You = \n \n A song . \n'


def open_texts(folder):
  return WikitextConfig(source_dir=str(folder), tokenizer='bytes').open(NOWHERE)


@pytest.mark.parametrize('suffix', ['.tokens', '.raw'])
def test_every_article_is_a_document_with_all_of_its_characters(tmp_path, suffix):
  """A line of text that looks like a title, and headings of sections, start none."""
  write(tmp_path, {'wiki.test': GOLD + DU_FU + LAST, 'wiki.valid': LAST, 'README': 'R'}, suffix)
  texts = open_texts(tmp_path)
  found = {name: read(own) for name, own in texts.splits(BYTES).items()}
  test = f'wiki.test{suffix}'
  assert found == {
    'validation': {f'wiki.valid{suffix}:2 Kiss You': LAST},
    # The first of two blank lines is the end of the article before.
    'test': {
      f'{test}:2 Gold': f'{GOLD} \n',
      f'{test}:13 Du Fu ( 杜甫 )': DU_FU.removeprefix(' \n'),
      f'{test}:21 Kiss You': LAST,
    },
  }
  (last,) = texts.documents['test'].read([2])
  assert last.text == LAST


def test_a_link_to_itself_and_a_pipe_beside_the_files_are_not_read(tmp_path):
  write(tmp_path, {'wiki.test': LAST}, '.tokens')
  (tmp_path / 'wiki.valid.tokens').symlink_to('wiki.valid.tokens')
  os.mkfifo(tmp_path / 'wiki.train.tokens')
  assert open_texts(tmp_path).documents.keys() == {'test'}


def test_other_folders_are_refused(tmp_path):
  with pytest.raises(
    UserError, match=r"data.source_dir = '.*' has no file of WikiText, .* unpack the archive"
  ):
    open_texts(tmp_path)
  write(tmp_path, {'wiki.train': 'Text without a title . \n'}, '.tokens')
  with pytest.raises(UserError, match=r"wiki.train.tokens has no article: .* ' = Title = '"):
    len(open_texts(tmp_path).documents['train'])
  write(tmp_path, {'wiki.train': LAST}, '.raw')
  with pytest.raises(UserError, match=r'two files of one split \(wiki.train.raw, wiki.train.tokens\)'):
    open_texts(tmp_path)
