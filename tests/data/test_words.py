"""The number of words, as Python and PG-19 count them."""

import pytest

from infformer_jax.data import words

SPACES = ''.join(chr(code) for code in range(0x110000) if chr(code).isspace())


@pytest.mark.parametrize(
  'text', ['', ' ', 'a', ' a', 'a ', 'one  two\n', 'é\u3000漢字 \U0001f600\x85x', SPACES, f'a{SPACES}b']
)
@pytest.mark.parametrize('size', [1, 2, 2**20])
def test_words_are_separated_by_all_characters_that_separate_them_for_python(text, size, monkeypatch):
  monkeypatch.setattr(words, '_CHARACTERS', size)
  assert words.count_words(text) == len(text.split())


def test_every_space_separates_words():
  for space in SPACES:
    assert words.count_words(f'a{space}b') == 2
